//! Rendering of messages into rows of a pane. A worker does this, since a large message takes
//! longer than the interval between two redraws.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use syntect::parsing::{ParseState, ScopeStack, SyntaxSet};

use super::text::{clean, fit};
use super::theme::StyleRole;
use crate::log::http::Http;
use crate::log::record::Seq;
use crate::mcp::{json, layout};

/// Format in which a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Tree of its values, which can be folded.
    Tree,
    /// Indented JSON.
    Pretty,
    /// Text as it arrived.
    Raw,
    /// Bytes in hexadecimal.
    Hex,
    /// HTTP exchange that the message was part of.
    Http,
}

/// Pane that rows are rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Detail pane of the Frames and Tape screens.
    Detail,
    /// Held message on the Intercept screen.
    Held,
    /// Reply on the Composer screen.
    Reply,
}

/// Message to be rendered, and its format.
#[derive(Debug, Clone)]
pub struct RenderJob {
    /// Pane that the rows are for.
    pub slot: Slot,
    /// Frame of the message.
    pub seq: Seq,
    /// Number that tells the job apart from earlier ones of the same pane.
    pub generation: u64,
    /// Format to render.
    pub view: View,
    /// Message as it arrived.
    pub bytes: Bytes,
    /// HTTP exchange of the message, if it came over HTTP.
    pub http: Option<Box<Http>>,
    /// `true` for plain text such as stderr, which gets no warning that it is not JSON.
    pub is_text: bool,
    /// Nodes of the tree that are not folded as by default, by the offset of their value.
    pub toggled: HashSet<usize>,
    /// Width of the pane in columns, at which rows are wrapped.
    pub width: usize,
}

/// Rows rendered for a pane.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Pane that the rows are for.
    pub slot: Slot,
    /// Frame of the message.
    pub seq: Seq,
    /// Number of the job.
    pub generation: u64,
    /// Rows, from top to bottom.
    pub rows: Vec<PaneRow>,
}

/// Row of a pane.
#[derive(Debug, Clone, Default)]
pub struct PaneRow {
    /// Pieces of text, each with its role in the theme.
    pub spans: Vec<(StyleRole, String)>,
    /// Value that the row shows, in the tree format only.
    pub node: Option<TreeValue>,
}

/// Value that a row of the tree shows.
#[derive(Debug, Clone)]
pub struct TreeValue {
    /// Normalized JSONPath of the value (RFC 9535 section 2.7); simple names are written without
    /// quotes.
    pub path: String,
    /// Position of the value in the bytes of the message.
    pub span: Range<usize>,
    /// `true` if the value is unfolded; `None` if it cannot be folded.
    pub unfolded: Option<bool>,
    /// Number of values that contain this one.
    pub depth: usize,
}

/// Number of bytes that are highlighted; the rest of a longer message is plain.
const HIGHLIGHT: usize = 64 << 10;
/// Maximum number of bytes in the raw and hex formats.
const SHOWN: usize = 1 << 20;
/// Maximum number of children shown per node.
const CHILDREN: usize = 200;
/// Depth down to which nodes are unfolded by default.
const UNFOLDED: usize = 3;

impl View {
    const ALL: [Self; 5] = [Self::Tree, Self::Pretty, Self::Raw, Self::Hex, Self::Http];

    /// Returns the name of the format for the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Pretty => "pretty",
            Self::Raw => "raw",
            Self::Hex => "hex",
            Self::Http => "http",
        }
    }

    /// Returns the format `steps` further in the cycle of formats.
    #[must_use]
    pub fn step(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

/// Renders a job.
pub fn render(job: &RenderJob) -> Rendered {
    let value = json::document(&job.bytes);
    let rows = match (job.view, value) {
        (View::Tree, Ok(span)) => tree(job, span),
        (View::Tree | View::Pretty, Err(flaw)) => not_json(job, &flaw),
        (View::Pretty, Ok(span)) => {
            let text = String::from_utf8_lossy(&job.bytes[span]);
            highlight(&layout::pretty(&text))
        }
        (View::Raw, _) => raw(&job.bytes, job.width),
        (View::Hex, _) => hex(&job.bytes),
        (View::Http, _) => exchange(job.http.as_deref()),
    };
    let rows = rows.into_iter().flat_map(|row| folded(row, job.width)).collect();
    Rendered { slot: job.slot, seq: job.seq, generation: job.generation, rows }
}

/// Wraps a row that is wider than the pane; continuation rows are indented relative to its
/// beginning.
fn folded(row: PaneRow, width: usize) -> Vec<PaneRow> {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    let total: usize = row.spans.iter().map(|(_, text)| text.width()).sum();
    let width = width.max(20);
    if total <= width {
        return vec![row];
    }
    let all: String = row.spans.iter().map(|(_, text)| text.as_str()).collect();
    let indent = (all.len() - all.trim_start().len() + 4).min(width / 2);
    let mut rows = Vec::new();
    let mut current = PaneRow { spans: Vec::new(), node: row.node.clone() };
    let mut used = 0;
    for (role, text) in row.spans {
        let mut part = String::new();
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                current.spans.push((role, std::mem::take(&mut part)));
                rows.push(std::mem::take(&mut current));
                current.node.clone_from(&row.node);
                current.spans.push((StyleRole::Dim, " ".repeat(indent)));
                used = indent;
            }
            used += wide;
            part.push(c);
        }
        current.spans.push((role, part));
    }
    rows.push(current);
    rows
}

fn plain(role: StyleRole, text: impl Into<String>) -> PaneRow {
    PaneRow { spans: vec![(role, text.into())], node: None }
}

fn not_json(job: &RenderJob, flaw: &json::SyntaxError) -> Vec<PaneRow> {
    let text = String::from_utf8_lossy(&job.bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    let mut rows = Vec::new();
    for line in wrap(text, job.width) {
        rows.push(plain(StyleRole::Text, clean(&line)));
    }
    if !job.is_text {
        rows.push(PaneRow::default());
        rows.push(plain(StyleRole::Warning, format!("not JSON: {flaw}")));
    }
    rows
}

/// Renders the facts that HTTP gives about a frame.
fn exchange(http: Option<&Http>) -> Vec<PaneRow> {
    let Some(http) = http else { return vec![plain(StyleRole::Dim, "this frame was not sent over HTTP")] };
    let pair = |name: &str, value: &str| PaneRow {
        spans: vec![
            (StyleRole::JsonKey, clean(name)),
            (StyleRole::Dim, ": ".to_owned()),
            (StyleRole::Text, clean(value)),
        ],
        node: None,
    };
    let mut rows = vec![plain(StyleRole::Title, clean(&http.summary()))];
    rows.push(plain(StyleRole::Dim, format!("exchange {}", http.exchange.0)));
    rows.extend(http.headers.iter().map(|(name, value)| pair(name, value)));
    if http.stream {
        let where_from = if http.headers.is_empty() { ", the headers are in its first frame" } else { "" };
        rows.push(plain(StyleRole::Dim, format!("part of an event stream{where_from}")));
    }
    if let Some(event) = &http.event {
        rows.push(PaneRow::default());
        let lines = String::from_utf8_lossy(&event.raw);
        rows.extend(lines.trim_end().lines().map(|line| match line.split_once(':') {
            Some((name, value)) => pair(name, fit(value.trim_start(), 200, '…').as_str()),
            None => plain(StyleRole::Text, clean(line)),
        }));
    }
    rows
}

// === tree ===

fn tree(job: &RenderJob, span: Range<usize>) -> Vec<PaneRow> {
    let mut rows = Vec::new();
    branch(job, span, 0, "$".to_owned(), None, &mut rows);
    rows
}

fn branch(
    job: &RenderJob,
    span: Range<usize>,
    depth: usize,
    path: String,
    key: Option<String>,
    rows: &mut Vec<PaneRow>,
) {
    let bytes = &job.bytes;
    let first = bytes.get(span.start).copied();
    let container = matches!(first, Some(b'{' | b'['));
    let unfolded = container.then(|| (depth < UNFOLDED) != job.toggled.contains(&span.start));
    let mut spans = vec![(StyleRole::Dim, "  ".repeat(depth.min(64)))];
    spans.push(match unfolded {
        Some(true) => (StyleRole::Accent, "▾ ".to_owned()),
        Some(false) => (StyleRole::Accent, "▸ ".to_owned()),
        None => (StyleRole::Dim, "  ".to_owned()),
    });
    if let Some(key) = key {
        spans.push((StyleRole::JsonKey, clean(&key)));
        spans.push((StyleRole::JsonPunctuation, "  ".to_owned()));
    }
    let children: Vec<(Option<String>, String, Range<usize>)> = match first {
        Some(b'{') => json::members(bytes, span.clone())
            .map(|member| {
                let key = json::unescape(&bytes[member.key]).unwrap_or_default().into_owned();
                let path = format!("{path}{}", segment(&key));
                (Some(key), path, member.value)
            })
            .collect(),
        Some(b'[') => json::elements(bytes, span.clone())
            .enumerate()
            .map(|(index, value)| (Some(index.to_string()), format!("{path}[{index}]"), value))
            .collect(),
        _ => Vec::new(),
    };
    match first {
        Some(b'{') => spans.push((StyleRole::Dim, format!("{{{}}}", children.len()))),
        Some(b'[') => spans.push((StyleRole::Dim, format!("[{}]", children.len()))),
        _ => spans.push(scalar(&bytes[span.clone()])),
    }
    rows.push(PaneRow { spans, node: Some(TreeValue { path, span: span.clone(), unfolded, depth }) });
    if unfolded != Some(true) {
        return;
    }
    let hidden = children.len().saturating_sub(CHILDREN);
    for (key, path, value) in children.into_iter().take(CHILDREN) {
        branch(job, value, depth + 1, path, key, rows);
    }
    if hidden > 0 {
        rows.push(plain(
            StyleRole::Dim,
            format!("{}  … {hidden} more; the pretty view (v) shows all", "  ".repeat(depth + 1)),
        ));
    }
}

/// Returns a name segment of a JSONPath, in dot notation if the name needs no quotes.
fn segment(key: &str) -> String {
    let simple = !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match simple {
        true => format!(".{key}"),
        false => format!("['{}']", key.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}

fn scalar(token: &[u8]) -> (StyleRole, String) {
    /// Length in bytes from which a string that looks like base64 is only named.
    const BLOB: usize = 512;
    const SHOWN: usize = 2000;
    let text = String::from_utf8_lossy(token);
    match token.first() {
        Some(b'"') => {
            let inner = &token[1..token.len().saturating_sub(1).max(1)];
            let blob = inner.len() > BLOB
                && inner
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'));
            match blob {
                true => (StyleRole::Dim, format!("⟨base64, {} bytes⟩", inner.len() / 4 * 3)),
                false => (StyleRole::JsonString, fit(&clean(&text), SHOWN, '…')),
            }
        }
        Some(b't' | b'f' | b'n') => (StyleRole::JsonLiteral, text.into_owned()),
        _ => (StyleRole::JsonNumber, clean(&text)),
    }
}

// === text ===

fn raw(bytes: &[u8], width: usize) -> Vec<PaneRow> {
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let text = String::from_utf8_lossy(shown);
    let mut rows: Vec<PaneRow> = if bytes.len() <= HIGHLIGHT {
        let lines = wrap(text.trim_end_matches(['\n', '\r']), width);
        highlight(&lines.join("\n"))
    } else {
        wrap(&text, width).into_iter().map(|line| plain(StyleRole::Text, clean(&line))).collect()
    };
    if bytes.len() > shown.len() {
        rows.push(plain(StyleRole::Dim, format!("… {} more bytes", bytes.len() - shown.len())));
    }
    rows
}

/// Breaks lines that are longer than `width` columns.
fn wrap(text: &str, width: usize) -> Vec<String> {
    use unicode_width::UnicodeWidthChar;
    let width = width.max(8);
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut current = String::new();
        let mut used = 0;
        for c in line.chars() {
            let wide = c.width().unwrap_or(1).max(1);
            if used + wide > width {
                lines.push(std::mem::take(&mut current));
                used = 0;
            }
            current.push(c);
            used += wide;
        }
        lines.push(current);
    }
    lines
}

fn hex(bytes: &[u8]) -> Vec<PaneRow> {
    let row = |(index, chunk): (usize, &[u8])| {
        let mut codes = String::new();
        for (at, byte) in chunk.iter().enumerate() {
            codes.push_str(&format!("{byte:02x}"));
            codes.push_str(if at == 7 { "  " } else { " " });
        }
        let text: String = chunk
            .iter()
            .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' })
            .collect();
        let spans = vec![
            (StyleRole::Dim, format!("{:08x}  ", index * 16)),
            (StyleRole::JsonNumber, format!("{codes:<50}")),
            (StyleRole::JsonString, text),
        ];
        PaneRow { spans, node: None }
    };
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let mut rows: Vec<PaneRow> = shown.chunks(16).enumerate().map(row).collect();
    if bytes.len() > shown.len() {
        rows.push(plain(StyleRole::Dim, format!("… {} more bytes", bytes.len() - shown.len())));
    }
    rows
}

fn syntaxes() -> &'static SyntaxSet {
    static SYNTAXES: OnceLock<SyntaxSet> = OnceLock::new();
    SYNTAXES.get_or_init(SyntaxSet::load_defaults_newlines)
}

/// Highlights JSON with the roles of the theme.
fn highlight(text: &str) -> Vec<PaneRow> {
    let syntaxes = syntaxes();
    let Some(syntax) = syntaxes.find_syntax_by_extension("json") else {
        return text.lines().map(|line| plain(StyleRole::Text, clean(line))).collect();
    };
    let mut state = ParseState::new(syntax);
    let mut stack = ScopeStack::new();
    let mut rows = Vec::new();
    let mut done = 0;
    for line in text.split_inclusive('\n') {
        done += line.len();
        let ops =
            if done <= HIGHLIGHT { state.parse_line(line, syntaxes).unwrap_or_default() } else { Vec::new() };
        let mut spans = Vec::new();
        let mut from = 0;
        let push = |spans: &mut Vec<(StyleRole, String)>, stack: &ScopeStack, part: &str| {
            let part = part.trim_end_matches('\n');
            if !part.is_empty() {
                spans.push((role(stack), clean(part)));
            }
        };
        for (at, op) in ops {
            push(&mut spans, &stack, &line[from..at]);
            from = at;
            // An operation that does not fit the stack costs no more than a colour; ignore the
            // error.
            let _ = stack.apply(&op);
        }
        push(&mut spans, &stack, &line[from..]);
        rows.push(PaneRow { spans, node: None });
    }
    rows
}

/// Returns the role of text inside these scopes of the JSON syntax.
fn role(stack: &ScopeStack) -> StyleRole {
    let mut role = StyleRole::Text;
    for scope in stack.as_slice() {
        let name = scope.build_string();
        role = match name.as_str() {
            name if name.starts_with("meta.structure.dictionary.key")
                || name.starts_with("meta.mapping.key") =>
            {
                StyleRole::JsonKey
            }
            name if name.starts_with("string") && role != StyleRole::JsonKey => StyleRole::JsonString,
            name if name.starts_with("constant.numeric") => StyleRole::JsonNumber,
            name if name.starts_with("constant.language") => StyleRole::JsonLiteral,
            name if name.starts_with("punctuation") && matches!(role, StyleRole::Text) => {
                StyleRole::JsonPunctuation
            }
            name if name.starts_with("meta.structure.dictionary.value") => StyleRole::Text,
            _ => role,
        };
    }
    role
}

#[cfg(test)]
mod tests;
