//! Check of what is on standard output: one message a line and nothing else (MCP stdio transport).

use bytes::Bytes;

use super::Target;
use super::causes::{
    BOM, Cause, FRAMING_LSP, FRAMING_NEWLINE, FRAMING_PRETTY, FRAMING_PROGRESS, FRAMING_UTF8, PROMPT,
    STRAY_LINE,
};
use super::check::{Check, Evidence};
use super::target::{READ_FRAMES, is_cut};
use crate::log::record::FrameKind;
use crate::log::world::{Row, SessionOverview};
use crate::mcp::json::{self, SyntaxErrorKind};
use crate::mcp::{Kind, Message, Opaque, Quirks};

/// Maximum number of lines of one message that is printed with line breaks.
const MAX_LINES: usize = 2000;

/// A line on standard output.
struct OutputLine<'a> {
    row: &'a Row,
    message: Message,
}

pub(super) fn stdout(target: &Target<'_>) -> Check {
    const ID: &str = "stdout";
    let mut found = Vec::new();
    let mut spoke = false;
    for session in target.sessions().filter(|session| !target.is_http(session.id)) {
        let lines = lines(target, session);
        spoke |= target.said_in(session).next().is_some();
        let mut at = 0;
        while at < lines.len() {
            let (cause, count) = cause(&lines[at..]);
            let OutputLine { row, .. } = &lines[at];
            found.push((cause, target.evidence(row, &target.text(row))));
            at += count;
        }
        found.extend(unterminated(target, session));
    }
    match spoke {
        true => Check::of(ID, found, "every line is a message"),
        false => Check::inapplicable(ID, "no output on standard output"),
    }
}

/// Returns the lines that are no messages, or begin with a byte order mark.
fn lines<'a>(target: &Target<'a>, session: &SessionOverview) -> Vec<OutputLine<'a>> {
    let is_odd = |row: &&Row| row.kind == FrameKind::Invalid || row.quirks.has(Quirks::BOM);
    let lines = target.said_in(session).filter(is_odd);
    let lines = lines.filter_map(|row| Some(OutputLine { row, message: target.message(row)? }));
    // A line over the inspect limit is another check's: its end is not known.
    lines.filter(|line| !is_cut(&line.message)).collect()
}

/// Returns the cause of the first line, and the number of lines that it explains.
fn cause(lines: &[OutputLine<'_>]) -> (&'static Cause, usize) {
    let first = &lines[0].message;
    let raw = first.raw();
    if first.quirks().has(Quirks::BOM) {
        return (&BOM, 1);
    }
    if is_header(first.body()) {
        let headers =
            lines.iter().take_while(|line| is_header(line.message.body()) || line.message.body().is_empty());
        return (&FRAMING_LSP, headers.count().max(1));
    }
    if let Kind::Opaque(Opaque::NotJson(error)) = first.kind()
        && error.reason == SyntaxErrorKind::Utf8
    {
        return (&FRAMING_UTF8, 1);
    }
    if let Some(count) = pretty(lines) {
        return (&FRAMING_PRETTY, count);
    }
    let has_newline = raw.last() == Some(&b'\n');
    match () {
        () if !has_newline && several(first.body()) => (&FRAMING_NEWLINE, 1),
        () if raw[..raw.len().saturating_sub(2)].contains(&b'\r') => (&FRAMING_PROGRESS, 1),
        () if !has_newline => (&PROMPT, 1),
        () => (&STRAY_LINE, 1),
    }
}

fn is_header(line: &[u8]) -> bool {
    const HEADERS: [&[u8]; 2] = [b"content-length:", b"content-type:"];
    HEADERS.iter().any(|name| line.get(..name.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(name)))
}

/// Returns the number of lines that are one JSON value together.
fn pretty(lines: &[OutputLine<'_>]) -> Option<usize> {
    if !matches!(lines[0].message.body().first(), Some(b'{' | b'[')) {
        return None;
    }
    let mut text = Vec::new();
    for (at, line) in lines.iter().take(MAX_LINES).enumerate() {
        text.extend_from_slice(line.message.raw());
        match json::prefix(&text) {
            Some(length) if text[length..].trim_ascii().is_empty() => return (at > 0).then_some(at + 1),
            Some(_) => return None,
            None => {}
        }
    }
    None
}

/// Returns `true` if a line is several JSON values in a row.
fn several(line: &[u8]) -> bool {
    json::prefix(line).is_some_and(|length| line[length..].trim_ascii().first() == Some(&b'{'))
}

/// Returns messages whose line never ended.
fn unterminated<'a>(target: &Target<'a>, session: &SessionOverview) -> Vec<(&'static Cause, Evidence)> {
    let is_message = |row: &&Row| {
        matches!(
            row.kind,
            FrameKind::Response | FrameKind::Request | FrameKind::Notification | FrameKind::Batch
        )
    };
    let unended = |row: &Row| {
        let message = target.message(row)?;
        let raw: &Bytes = message.raw();
        (!raw.ends_with(b"\n")).then(|| target.evidence(row, "the line has no newline at its end"))
    };
    // Frames that interceptors touched were composed here.
    let rows = target
        .said_in(session)
        .rev()
        .take(READ_FRAMES)
        .filter(is_message)
        .filter(|row| !row.edited && !row.stream);
    rows.filter_map(unended).map(|evidence| (&FRAMING_NEWLINE, evidence)).collect()
}
