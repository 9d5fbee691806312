//! Output formats of a comparison, for people, programs and CI.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::output;
use crate::doctor::escape;
use crate::tape::compare::{CallChange, ChangeKind};
use crate::tape::compare::{OF_ONE_ERA, OfferChange, Quantiles, Report, ReportedDifference};

/// Output format of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Judgement {
    /// Text, for people.
    #[default]
    #[value(alias = "table")]
    Text,
    /// JSON, for programs.
    Json,
    /// YAML, for people and programs.
    Yaml,
    /// JUnit, for CI: one test case per finding.
    Junit,
    /// SARIF, for code scanning.
    Sarif,
}

/// Difference between the recordings.
struct Finding {
    /// Kind of the difference, as the id of a SARIF rule.
    rule: &'static str,
    name: String,
    text: String,
    lines: Vec<String>,
}

/// Formats a report; `title` names what was compared.
pub fn render(report: &Report, title: &str, form: Judgement) -> String {
    match form {
        Judgement::Text => text(report, title),
        Judgement::Json => output::pretty(&value(report, title)) + "\n",
        Judgement::Yaml => output::yaml(&value(report, title)),
        Judgement::Junit => junit(report, title),
        Judgement::Sarif => output::pretty(&sarif(report, title)) + "\n",
    }
}

fn value(report: &Report, title: &str) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.insert("compared".into(), report.compared.into());
        members.insert("title".into(), title.into());
        members.insert("drift".into(), report.has_drift().into());
    }
    value
}

fn findings(report: &Report) -> Vec<Finding> {
    let lines =
        |differences: &[ReportedDifference]| differences.iter().map(ReportedDifference::summary).collect();
    let offer = |change: &OfferChange| Finding {
        rule: match change.change {
            ChangeKind::Flipped => "contract-flipped",
            ChangeKind::Added => "contract-added",
            ChangeKind::Removed => "contract-removed",
            ChangeKind::Changed => "contract-changed",
        },
        name: format!("{} {}", change.offer.word(), change.name).trim_end().to_owned(),
        text: match change.change {
            ChangeKind::Flipped => "changed its safety annotations".to_owned(),
            other => other.word().to_owned(),
        },
        lines: lines(&change.differences),
    };
    let call = |change: &CallChange| {
        let place = |seq: Option<u64>, side: &str| seq.map(|seq| format!("#{seq} {side}"));
        let places: Vec<String> =
            [place(change.a, "then"), place(change.b, "now")].into_iter().flatten().collect();
        Finding {
            rule: "behaviour",
            name: change.title.clone(),
            text: format!("{} ({})", change.kind.word(), places.join(", ")),
            lines: lines(&change.differences),
        }
    };
    report.contract.iter().map(offer).chain(report.behaviour.iter().map(call)).collect()
}

fn text(report: &Report, title: &str) -> String {
    let mut text = format!("{title}\n");
    let mut line = |depth: usize, words: &str| {
        // Text of peers must not control the terminal.
        text.push_str(&"  ".repeat(depth));
        text.push_str(&output::harmless(words));
        text.push('\n');
    };
    if let (Some(a), Some(b)) = report.eras
        && a != b
    {
        line(
            0,
            &format!(
                "eras differ: {a} before, {b} now; only common parts are compared (without {}, and rounds of input as one call)",
                OF_ONE_ERA.join(", ")
            ),
        );
    }
    for (heading, contract) in [("Contract", true), ("Behaviour", false)] {
        let found: Vec<Finding> = findings(report)
            .into_iter()
            .filter(|finding| (finding.rule != "behaviour") == contract)
            .collect();
        match (found.is_empty(), contract) {
            (true, true) => match report.not_compared.is_empty() {
                true => line(0, "Contract: unchanged"),
                false => {
                    let kinds: Vec<&str> = report.not_compared.iter().map(|offer| offer.word()).collect();
                    let kinds = kinds.join(", ");
                    line(0, &format!("Contract: unchanged, but not compared (seen in one only): {kinds}"));
                }
            },
            (true, false) if report.compared == 0 => line(0, "Behaviour: no call was compared"),
            (true, false) => line(0, &format!("Behaviour: {} calls, same answers", report.compared)),
            (false, _) => line(0, heading),
        }
        for finding in found {
            line(1, &format!("{}: {}", finding.name, finding.text));
            finding.lines.iter().for_each(|words| line(2, words));
        }
    }
    if !report.volatile.is_empty() {
        line(0, "Volatile values, not counted");
        for (title, path, why) in &report.volatile {
            line(1, &format!("{title} {path} ({why})"));
        }
    }
    if !report.timing.is_empty() {
        line(0, "Timing (p50, p95)");
        for timing in &report.timing {
            let side = |quantiles: &Quantiles| format!("{} {}", millis(quantiles.p50), millis(quantiles.p95));
            line(1, &format!("{}: {} → {}", timing.title, side(&timing.a), side(&timing.b)));
        }
    }
    let cost = &report.cost;
    line(
        0,
        &format!(
            "Cost (estimated tokens): tool definitions {} → {}, answers {} → {}",
            cost.definitions.0, cost.definitions.1, cost.answers.0, cost.answers.1
        ),
    );
    line(0, if report.has_drift() { "drift" } else { "no drift" });
    text
}

fn millis(nanos: u64) -> String {
    format!("{:.1}ms", nanos as f64 / 1e6)
}

fn junit(report: &Report, title: &str) -> String {
    let found = findings(report);
    let failed: String = found
        .iter()
        .map(|finding| {
            format!(
                "    <testcase classname=\"{}\" name=\"{}\">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                finding.rule,
                escape(&finding.name),
                escape(&finding.text),
                escape(&finding.lines.join("\n"))
            )
        })
        .collect();
    let differ = report.behaviour.iter().filter(|change| change.a.is_some()).count();
    let passed = report.compared.saturating_sub(differ);
    let passed_cases: String = (0..passed)
        .map(|at| format!("    <testcase classname=\"behaviour\" name=\"call {} as it was\"/>\n", at + 1))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">\n{failed}{passed_cases}  </testsuite>\n</testsuites>\n",
        escape(title),
        found.len() + passed,
        found.len()
    )
}

/// Formats the findings as SARIF 2.1.0 (OASIS), for code scanning.
fn sarif(report: &Report, title: &str) -> Value {
    let result = |finding: &Finding| {
        let text =
            [vec![format!("{}: {}", finding.name, finding.text)], finding.lines.clone()].concat().join("\n");
        json!({
            "ruleId": finding.rule,
            "level": if finding.rule == "contract-added" { "warning" } else { "error" },
            "message": { "text": text },
            "locations": [{ "logicalLocations": [{ "fullyQualifiedName": finding.name }] }],
        })
    };
    let rules = [
        ("contract-flipped", "What a tool says about its danger has changed"),
        ("contract-added", "Something is offered that was not"),
        ("contract-removed", "Something is not offered any more"),
        ("contract-changed", "An offer is defined otherwise"),
        ("behaviour", "A call is answered otherwise"),
    ];
    let rules = rules.map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } }));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "shadowcat",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "automationDetails": { "id": title },
            "results": findings(report).iter().map(result).collect::<Vec<_>>(),
        }],
    })
}
