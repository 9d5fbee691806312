//! Reports of the checks: Markdown for bug reports, and JUnit for CI.

use super::{Check, CheckResult};

/// Formats the checks as Markdown, for a bug report.
pub fn markdown(title: &str, checks: &[Check]) -> String {
    let mut text = format!("## shadowcat doctor: {title}\n\n");
    for check in checks {
        let sign = match check.verdict {
            CheckResult::Passed => "✅",
            CheckResult::Warned => "⚠️",
            CheckResult::Unjudged => "❓",
            CheckResult::Failed => "❌",
            CheckResult::Skipped => "➖",
        };
        text.push_str(&format!("- {sign} **{}** ({})\n", check.title, check.id));
        for line in &check.evidence {
            text.push_str(&format!("  - `{}`\n", line.replace('`', "'").replace('\n', " ")));
        }
        if let Some(fix) = &check.fix {
            text.push_str(&format!("  - fix: {fix}\n"));
        }
    }
    text
}

/// Formats the checks as JUnit test cases.
pub fn junit(title: &str, checks: &[Check]) -> String {
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let mut cases = String::new();
    for check in checks {
        let text = escape(&check.evidence.join("\n"));
        let inner = match check.verdict {
            CheckResult::Failed | CheckResult::Unjudged => {
                let fix = escape(check.fix.as_deref().unwrap_or_default());
                format!("<failure message=\"{fix}\">{text}</failure>")
            }
            CheckResult::Skipped => format!("<skipped message=\"{text}\"/>"),
            CheckResult::Warned | CheckResult::Passed => format!("<system-out>{text}</system-out>"),
        };
        cases.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\">{inner}</testcase>\n",
            check.id,
            escape(check.title)
        ));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n{cases}  </testsuite>\n</testsuites>\n",
        escape(title),
        checks.len(),
        count(CheckResult::Failed) + count(CheckResult::Unjudged),
        count(CheckResult::Skipped)
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
