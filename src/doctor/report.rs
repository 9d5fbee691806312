//! Reports of the checks: lines for people, Markdown for bug reports, and JUnit for CI.

use super::{Check, CheckResult, Report};

/// Formats a report as lines for people, with the text of peers as it came.
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for check in report.checks.iter().filter(|check| !check.is_moot()) {
        let title = check.question.title;
        match check.verdict {
            CheckResult::Passed => lines.push(format!("ok    {title}: {}", check.summary)),
            CheckResult::NotApplicable => lines.push(format!("-     {title}: {}", check.summary)),
            CheckResult::Warned => lines.push(format!("warn  {title}")),
            CheckResult::Unjudged => lines.push(format!("?     {title}: could not be judged")),
            CheckResult::Failed => lines.push(format!("FAIL  {title}")),
        }
        lines.extend(findings(check).into_iter().map(|line| format!("        {line}")));
        lines.extend(check.fixes().into_iter().map(|fix| format!("        fix: {fix}")));
    }
    lines.extend(moot(report).map(|line| format!("?     {line}")));
    let counted = |verdict, what| format!("{} {what}", report.count(verdict));
    let unjudged = match report.count(CheckResult::Unjudged) {
        0 => String::new(),
        unjudged => format!(", {unjudged} could not be judged"),
    };
    lines.push(format!(
        "{}{unjudged}, {}, {}",
        counted(CheckResult::Failed, "failed"),
        counted(CheckResult::Warned, "warned"),
        counted(CheckResult::Passed, "passed")
    ));
    lines
}

/// Returns the causes and what they rest on.
fn findings(check: &Check) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &check.findings {
        lines.push(finding.cause.what.to_owned());
        lines.extend(finding.evidence.iter().map(|evidence| format!("  {}", evidence.text)));
    }
    lines
}

/// Returns the line of the checks that were not judged because another failed.
fn moot(report: &Report) -> Option<String> {
    let moot: Vec<&Check> = report.checks.iter().filter(|check| check.is_moot()).collect();
    let ids: Vec<&str> = moot.iter().map(|check| check.question.id).collect();
    let why = &moot.first()?.findings.first()?.evidence.first()?.text;
    Some(format!("{why}: {}", ids.join(", ")))
}

/// Formats a report as Markdown, for a bug report.
pub fn markdown(title: &str, report: &Report) -> String {
    let mut text = format!("## shadowcat doctor: {title}\n\n");
    for check in report.checks.iter().filter(|check| !check.is_moot()) {
        let sign = match check.verdict {
            CheckResult::Passed => "✅",
            CheckResult::Warned => "⚠️",
            CheckResult::Unjudged => "❓",
            CheckResult::Failed => "❌",
            CheckResult::NotApplicable => "➖",
        };
        text.push_str(&format!("- {sign} **{}** ({})\n", check.question.title, check.question.id));
        let summary = Some(check.summary.clone()).filter(|summary| !summary.is_empty());
        for line in summary.into_iter().chain(findings(check)) {
            text.push_str(&format!("  - `{}`\n", line.trim().replace('`', "'").replace('\n', " ")));
        }
        for fix in check.fixes() {
            text.push_str(&format!("  - fix: {fix}\n"));
        }
    }
    text.extend(moot(report).map(|line| format!("- ❓ {line}\n")));
    text
}

/// Formats a report as JUnit test cases.
pub fn junit(title: &str, report: &Report) -> String {
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    let mut cases = String::new();
    for check in &report.checks {
        let text = escape(&findings(check).join("\n"));
        let summary = escape(&check.summary);
        let fix = escape(&check.fixes().join("; "));
        let inner = match check.verdict {
            CheckResult::Failed => format!("<failure message=\"{fix}\">{text}</failure>"),
            CheckResult::Unjudged => format!("<error message=\"could not be judged\">{text}</error>"),
            CheckResult::NotApplicable => format!("<skipped message=\"{summary}\"/>"),
            CheckResult::Warned | CheckResult::Passed => {
                format!("<system-out>{summary}{text}</system-out>")
            }
        };
        cases.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\">{inner}</testcase>\n",
            check.question.id,
            escape(check.question.title)
        ));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{cases}  </testsuite>\n</testsuites>\n",
        escape(title),
        report.checks.len(),
        count(CheckResult::Failed),
        count(CheckResult::Unjudged),
        count(CheckResult::NotApplicable)
    )
}

/// Escapes text for XML 1.0, without the characters that XML cannot hold.
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // XML 1.0 has no escape for other control characters.
    let fine =
        |c: &char| (!c.is_control() || matches!(c, '\n' | '\t')) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(fine).collect()
}
