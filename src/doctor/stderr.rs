//! The telling lines of stderr: those that name a cause, in the words of common runtimes.

use super::Target;
use super::causes::{Cause, MISSING_SETTING, NODE_MODULE, PORT_IN_USE, PYTHON_MODULE};
use super::check::Evidence;
use crate::log::record::Channel;
use crate::log::world::SessionOverview;

/// Stderr of a session, as far as it tells why the server failed.
pub(super) struct Telling {
    /// The telling lines, and the last ones.
    pub lines: Vec<Evidence>,
    /// The cause that a line names.
    pub cause: Option<&'static Cause>,
}

/// Words of lines that name a failure.
const FAILURES: [&str; 14] = [
    "error",
    "cannot find",
    "no module",
    "not found",
    "exception",
    "denied",
    "in use",
    "refused",
    "panicked",
    "missing",
    "fatal",
    "required",
    "not set",
    "no such",
];
/// Words of lines by which a cause is known.
const CAUSES: [(&str, &Cause); 6] = [
    ("cannot find module", &NODE_MODULE),
    ("cannot find package", &NODE_MODULE),
    ("modulenotfounderror", &PYTHON_MODULE),
    ("no module named", &PYTHON_MODULE),
    ("eaddrinuse", &PORT_IN_USE),
    ("address already in use", &PORT_IN_USE),
];
/// Words that follow the name of a setting that is missing.
const UNSET: [&str; 6] = ["required", "not set", "missing", "undefined", "must be set", "is empty"];
/// Maximum number of telling lines, and of last lines.
const TELLING: usize = 4;
const LAST: usize = 3;
/// Number of lines at the beginning and at the end that are read: between them are floods.
const READ: usize = 200;

/// Returns what stderr of a session tells.
pub(super) fn telling(target: &Target<'_>, session: &SessionOverview) -> Telling {
    let rows: Vec<_> = target.rows_of(session).filter(|row| row.channel() == Channel::Stderr).collect();
    let (count, tail) = (rows.len(), rows.len().saturating_sub(READ));
    let read = rows.iter().enumerate().filter(|(at, _)| *at < READ || *at >= tail);
    let texts: Vec<(usize, String)> =
        read.map(|(at, row)| (at, target.text(row).trim_end().to_owned())).collect();
    // The cause stands before the stack of calls that most runtimes print last.
    let last = count.saturating_sub(LAST);
    let mut shown: Vec<usize> =
        texts.iter().filter(|(_, text)| is_failure(text)).map(|(at, _)| *at).collect();
    shown.truncate(TELLING);
    shown.extend((last..count).filter(|at| !shown.contains(at)).collect::<Vec<_>>());
    let mut lines: Vec<Evidence> = texts
        .iter()
        .filter(|(at, _)| shown.contains(at))
        .map(|(at, text)| Evidence::from(format!("stderr #{}: {text}", rows[*at].seq)).of(session.id))
        .collect();
    match count {
        0 => lines.push("it wrote nothing to stderr".into()),
        _ if lines.len() < count => lines.push(format!("{} of {count} lines of stderr", lines.len()).into()),
        _ => {}
    }
    let cause = texts.iter().find_map(|(_, text)| cause(text));
    Telling { lines, cause }
}

fn is_failure(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    FAILURES.iter().any(|word| line.contains(word))
}

fn cause(line: &str) -> Option<&'static Cause> {
    let lower = line.to_ascii_lowercase();
    if let Some((_, cause)) = CAUSES.iter().find(|(words, _)| lower.contains(words)) {
        return Some(cause);
    }
    // A setting is a word in capitals, such as API_KEY.
    let is_setting = |word: &str| {
        word.len() > 3
            && word.contains('_')
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let names_setting = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_setting);
    (names_setting && UNSET.iter().any(|words| lower.contains(words))).then_some(&MISSING_SETTING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_runtimes_name_their_causes() {
        for (line, expected) in [
            ("Error: Cannot find module '/x/index.js'", Some("node-module")),
            ("ModuleNotFoundError: No module named 'mcp'", Some("python-module")),
            ("Error: listen EADDRINUSE: address already in use :::3000", Some("port-in-use")),
            ("Error: GITHUB_TOKEN is not set", Some("missing-setting")),
            ("KeyError: 'API_KEY' is required", Some("missing-setting")),
            ("HTTP is required", None),
            ("listening", None),
        ] {
            assert_eq!(cause(line).map(|cause| cause.id), expected, "{line}");
        }
    }
}
