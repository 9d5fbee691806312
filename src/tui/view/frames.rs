//! List of frames, and its filter bar.

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::app::{App, Areas};
use super::super::frames::FrameListLine as Entry;
use super::super::text::{clean, count, duration, fit, pad};
use super::super::theme::StyleRole;
use crate::clock;
use crate::log::record::{Channel, Origin, Outcome, Role as Part};
use crate::log::world::{FrameState, OperationSummary, Row, State};
use crate::mcp::{Direction, Kind, Opaque};

/// Draws the filter bar: filters, highlight and counts.
pub fn draw_filter(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let frames = &app.frames;
    let mut spans = vec![app.span(StyleRole::Key, " / ")];
    for chip in &frames.chips {
        spans.push(app.span(StyleRole::Chip, format!(" {} ", clean(chip.query.text()))));
        spans.push(app.span(StyleRole::Dim, " "));
    }
    if frames.chips.is_empty() {
        spans.push(app.span(StyleRole::Dim, "no filter"));
    }
    if let Some(highlight) = &frames.highlight {
        spans.push(app.span(StyleRole::Match, format!(" {} ", clean(highlight.text()))));
    }
    let shown = frames.lines.len();
    let total = app.world.rows.len();
    let noun = if frames.operations { "rows" } else { "frames" };
    let scanned = match frames.is_scanning(&app.world) {
        true => format!("scanned {} % ", frames.scanned(&app.world)),
        false => String::new(),
    };
    let follow = if frames.follow { " follow " } else { " " };
    let right = format!("{scanned}{shown}/{total} {noun}{follow}");
    let width = u16::try_from(right.len()).unwrap_or(0).min(area.width);
    frame.render_widget(Line::from(spans), Rect { width: area.width - width, ..area });
    let place = Rect { x: area.right() - width, width, ..area };
    frame.render_widget(Line::from(app.span(StyleRole::Dim, right)), place);
}

/// Draws the list in `area`, and stores the place of its rows in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let title = if app.frames.operations { "Operations" } else { "Frames" };
    let block = app.pane(title.to_owned(), !app.in_detail);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let columns = Columns::new(usize::from(inner.width), app.world.speaks_http, has_several(app));
    let head = Rect { height: 1, ..inner };
    frame.render_widget(Line::from(app.span(StyleRole::Dim, columns.header())), head);
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    areas.list = list;
    if app.frames.lines.is_empty() {
        draw_empty(frame, app, list);
        return;
    }
    let top = app.frames.top;
    let visible = app.frames.lines.iter().enumerate().skip(top).take(usize::from(list.height));
    for (y, (at, entry)) in (list.y..).zip(visible) {
        let place = Rect { y, height: 1, ..list };
        let selected = at == app.frames.cursor;
        if let Some(row) = app.world.row(entry.seq) {
            let mut line = columns.line(app, *entry, row);
            if selected {
                line = line.patch_style(selection(app));
            }
            frame.render_widget(line, place);
            if selected {
                frame.buffer_mut().set_style(place, selection(app));
            }
        }
    }
}

/// Returns `true` if servers with different names are in the list.
fn has_several(app: &App) -> bool {
    let mut names = app.world.sessions.values().map(|session| &session.opened.name);
    let first = names.next();
    names.any(|name| Some(name) != first)
}

/// Returns the style of the selection, which changes only the background if the theme has one.
fn selection(app: &App) -> Style {
    let style = app.appearance.theme.style(StyleRole::Selected);
    match style.bg {
        Some(_) => Style { fg: None, ..style },
        None => style,
    }
}

fn draw_empty(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let text = match (app.world.rows.is_empty(), app.world.sessions.is_empty()) {
        (true, true) => app.appearance.waiting.clone().unwrap_or_else(|| "waiting for a session".to_owned()),
        (true, false) => "connected, no message yet".to_owned(),
        (false, _) => {
            let filter = app.frames.chips.last().map(|chip| clean(chip.query.text())).unwrap_or_default();
            format!("0 of {} match. Backspace removes [{filter}]", app.world.rows.len())
        }
    };
    let middle = Rect { y: area.y + area.height / 2, height: 1.min(area.height), ..area };
    frame.render_widget(Paragraph::new(app.span(StyleRole::Dim, text)).alignment(Alignment::Center), middle);
}

/// Widths of the columns; 0 for columns that a narrow screen leaves out.
struct Columns {
    time: usize,
    /// Server of the frame, if several are shown together.
    server: usize,
    text: usize,
    duration: usize,
    size: usize,
    /// HTTP status; 0 without HTTP traffic.
    status: usize,
    /// Open event streams; 0 without HTTP traffic.
    streams: usize,
}

const DIR: usize = 2;
const OP: usize = 7;
/// Width from which no column is left out.
const ROOMY: usize = 78;
const STATE: usize = 10;
/// Maximum number of streams that are drawn beside each other.
const STREAMS: usize = 4;

impl Columns {
    fn new(width: usize, http: bool, several: bool) -> Self {
        let time = if width >= 58 { 9 } else { 0 };
        // With little room, the server of a frame is more important than its size.
        let size = if width >= if several { ROOMY } else { 60 } { 6 } else { 0 };
        let duration = 7;
        let server = match several {
            true if width >= ROOMY => 11,
            true if width >= 58 => 8,
            _ => 0,
        };
        let status = if http && width >= 58 { 5 } else { 0 };
        let streams = if http && width >= 64 { STREAMS + 1 } else { 0 };
        let fixed = time + server + DIR + OP + status + streams + duration + size + STATE;
        Self { time, server, text: width.saturating_sub(fixed), duration, size, status, streams }
    }

    fn header(&self) -> String {
        let cell = |text: &str, width: usize| pad(text, width, ' ');
        [
            cell("TIME", self.time),
            cell(if self.server > 0 { "SERVER" } else { "" }, self.server),
            cell("", DIR),
            cell("OP", OP),
            cell(if self.streams > 0 { "SSE" } else { "" }, self.streams),
            cell("METHOD / TOOL", self.text),
            cell(if self.status > 0 { "HTTP" } else { "" }, self.status),
            cell("DUR", self.duration),
            cell("SIZE", self.size),
            cell("STATE", STATE),
        ]
        .concat()
    }

    fn line(&self, app: &App, entry: Entry, row: &Row) -> Line<'static> {
        let glyphs = app.glyphs();
        // The last column of a cell stays empty and separates it from the next cell.
        let cell = |role: StyleRole, text: &str, width: usize| {
            app.span(role, pad(&fit(text, width.saturating_sub(1), glyphs.ellipsis), width, ' '))
        };
        let time = clock::format(app.log().clock().wall(row.at), "%H:%M:%S");
        let (arrow, way) = match row.direction {
            Direction::ToServer => (glyphs.to_server, StyleRole::ToServer),
            Direction::ToClient => (glyphs.to_client, StyleRole::ToClient),
        };
        let operation = row.op().and_then(|op| app.world.operation(op));
        let whole = operation.filter(|_| entry.whole);
        let (text, role) = describe(app, entry, row, way);
        let (state, state_role) = state(app, row, whole);
        let highlighted = app.frames.highlight.as_ref().is_some_and(|query| {
            let subject = crate::log::subject::RowSubject::new(&app.world, row, app.log());
            query.matches(&subject)
        });
        let role = if highlighted { StyleRole::Match } else { role };
        let status =
            row.status().filter(|_| self.status > 0).map(|status| status.to_string()).unwrap_or_default();
        Line::from(vec![
            cell(StyleRole::Dim, &time, self.time),
            cell(StyleRole::Dim, &clean(app.world.session_name(row.session)), self.server),
            cell(if row.channel() == Channel::Stderr { StyleRole::Stderr } else { way }, arrow, DIR),
            cell(StyleRole::Dim, &bracket(app, entry, row, operation), OP),
            Span::styled(
                pad(&streams(app, row), self.streams, ' '),
                app.appearance.theme.style(StyleRole::Accent),
            ),
            cell(role, &text, self.text),
            cell(StyleRole::Dim, &status, self.status),
            cell(StyleRole::Dim, &latency(app, row, whole), self.duration),
            cell(StyleRole::Dim, &count(row.size), self.size),
            Span::styled(pad(&state, STATE, glyphs.ellipsis), app.appearance.theme.style(state_role)),
        ])
    }
}

/// Returns signs for the streams that were open when a frame arrived: first event, later event or
/// open.
fn streams(app: &App, row: &Row) -> String {
    if !app.world.speaks_http {
        return String::new();
    }
    let glyphs = app.glyphs();
    let mut signs = [" "; STREAMS];
    for ((session, lane), stream) in &app.world.streams {
        let over = stream.ended.as_ref().is_some_and(|(seq, ..)| *seq < row.seq);
        if stream.slot >= STREAMS || stream.first > row.seq || over {
            continue;
        }
        let own = (*session, *lane) == (row.session, row.lane);
        signs[stream.slot] = match own {
            true if stream.first == row.seq => glyphs.first,
            true => glyphs.event,
            false => glyphs.middle,
        };
    }
    signs.concat()
}

/// Returns the sign that connects the frames of an operation, and the number of the operation.
fn bracket(app: &App, entry: Entry, row: &Row, operation: Option<&OperationSummary>) -> String {
    let Some(operation) = operation else { return String::new() };
    let glyphs = app.glyphs();
    let sign = if entry.whole {
        if entry.nested { glyphs.middle } else { glyphs.unfold }
    } else if app.world.first(operation).map(|first| first.seq) == Some(row.seq) {
        glyphs.first
    } else if matches!(row.role, Part::Response) {
        glyphs.last
    } else {
        glyphs.middle
    };
    match app.world.operations.cause(operation.id).filter(|_| !entry.nested) {
        // An operation that another one caused also has the number of that one.
        Some(cause) if cause.presumed => format!("{sign} {}~{}", operation.id.0, cause.op.0),
        Some(cause) => format!("{sign} {}<{}", operation.id.0, cause.op.0),
        None => format!("{sign} {}", operation.id.0),
    }
}

/// Returns a short description of a frame, and its role in the theme.
fn describe(app: &App, entry: Entry, row: &Row, way: StyleRole) -> (String, StyleRole) {
    let glyphs = app.glyphs();
    let method = app.world.text(row.method).map(clean);
    let target = app.world.text(row.target).map(clean);
    let indent = if entry.nested { "  " } else { "" };
    let named = |prefix: &str| {
        let method = method.clone().unwrap_or_default();
        match &target {
            Some(target) => format!("{indent}{prefix}{method} {target}"),
            None => format!("{indent}{prefix}{method}"),
        }
    };
    let said = || {
        let record = app.log().get(row.seq);
        let text = record.as_ref().and_then(|record| record.frame()).map(|frame| {
            let raw = frame.message.raw();
            clean(String::from_utf8_lossy(&raw[..raw.len().min(200)]).trim_end())
        });
        text.unwrap_or_else(|| "(no longer in memory)".to_owned())
    };
    if row.channel() == Channel::Http && row.stream && row.size > 0 {
        return (format!("{indent}{}", said()), StyleRole::Dim);
    }
    if row.channel() == Channel::Stderr {
        return (format!("{indent}{}", said()), StyleRole::Stderr);
    }
    match row.kind.as_str() {
        "invalid" => {
            let record = app.log().get(row.seq);
            let why = record.as_ref().and_then(|record| match record.frame()?.message.kind() {
                Kind::Opaque(why) => Some(*why),
                _ => None,
            });
            let note = match why {
                Some(Opaque::Truncated) => "too long to inspect",
                Some(Opaque::NotJson(_)) => "not JSON",
                _ => "not an MCP message",
            };
            (format!("{indent}{} {note}: {}", glyphs.warning, said()), StyleRole::Warning)
        }
        "resp" => {
            let word = match row.role {
                Part::InputRequired => "input required ",
                _ if row.is_error => "error ",
                _ => "result ",
            };
            (named(word), if row.is_error { StyleRole::Error } else { way })
        }
        "notify" if row.role == Part::Progress => (named("· "), StyleRole::Notice),
        "notify" => (named(""), StyleRole::Notice),
        "batch" => (format!("{indent}batch"), way),
        "http" => (named(""), if row.is_error { StyleRole::Error } else { StyleRole::Dim }),
        _ if entry.whole && !entry.nested => (named(""), way),
        _ => (named(if row.role == Part::Retry { "retry " } else { "" }), way),
    }
}

/// Returns the time that an answer took, or that a frame has been waiting.
fn latency(app: &App, row: &Row, whole: Option<&OperationSummary>) -> String {
    if let Some(operation) = whole {
        let end = operation.ended().unwrap_or_else(|| app.now());
        return duration(end.since(operation.started));
    }
    if let Some(taken) = row.duration() {
        return duration(taken);
    }
    match row.state {
        FrameState::Held => app
            .world
            .handling(row.seq)
            .since
            .map(|since| duration(app.now().since(since)))
            .unwrap_or_default(),
        _ if is_pending(app, row) => duration(app.now().since(row.at)),
        _ => String::new(),
    }
}

fn is_pending(app: &App, row: &Row) -> bool {
    let open = |operation: &OperationSummary| {
        operation.ended().is_none()
            && operation.state == State::Pending
            && app.world.sessions.get(&operation.session).is_some_and(|session| session.closed.is_none())
    };
    matches!(row.role, Part::Request | Part::Retry)
        && !matches!(row.state, FrameState::Ended(Outcome::Withdrawn | Outcome::Answered | Outcome::Dropped))
        && row.op().and_then(|op| app.world.operation(op)).is_some_and(open)
}

/// Returns the state of a frame, the most important one first, and its role in the theme.
fn state(app: &App, row: &Row, whole: Option<&OperationSummary>) -> (String, StyleRole) {
    let glyphs = app.glyphs();
    let word = |sign: &str, text: &str| format!("{sign} {text}");
    match row.state {
        FrameState::Held => return (word(glyphs.held, "HELD"), StyleRole::Held),
        FrameState::Ended(Outcome::Dropped) if row.edited => {
            return (word(glyphs.edited, "replaced"), StyleRole::Dim);
        }
        FrameState::Ended(Outcome::Dropped) => return (word(glyphs.dropped, "dropped"), StyleRole::Edited),
        FrameState::Ended(Outcome::Answered) => {
            return (word(glyphs.answered, "answered"), StyleRole::Edited);
        }
        FrameState::Ended(Outcome::Withdrawn) => {
            return (word(glyphs.dropped, "withdrawn"), StyleRole::Edited);
        }
        FrameState::Moving | FrameState::Ended(Outcome::Forwarded) => {}
    }
    match row.origin() {
        Origin::Replaced(_) => return (word(glyphs.edited, "edited"), StyleRole::Edited),
        Origin::Answered(_) => return (word(glyphs.answered, "composed"), StyleRole::Edited),
        Origin::Injected => return (word(glyphs.injected, "injected"), StyleRole::Edited),
        Origin::Replayed | Origin::Remapped(_) => {
            return (row.origin().as_str().to_owned(), StyleRole::Edited);
        }
        Origin::Wire => {}
    }
    if let Some(operation) = whole {
        return match operation.state {
            State::Pending => (word(glyphs.pending, "pending"), StyleRole::Warning),
            State::InputRequired => (word(glyphs.pending, "input"), StyleRole::Warning),
            State::Ok => (glyphs.ok.to_owned(), StyleRole::Ok),
            State::Error => (word(glyphs.error, "error"), StyleRole::Error),
            State::Cancelled => (word(glyphs.dropped, "cancel"), StyleRole::Warning),
            State::Lost => (word(glyphs.error, "lost"), StyleRole::Error),
        };
    }
    if let Some(flag) = row.flags.words().next() {
        return (word(glyphs.warning, flag), StyleRole::Warning);
    }
    if row.is_error {
        return (word(glyphs.error, "error"), StyleRole::Error);
    }
    if !row.quirks.is_empty() {
        return (word(glyphs.warning, "odd"), StyleRole::Warning);
    }
    if is_pending(app, row) {
        return (word(glyphs.pending, "pending"), StyleRole::Warning);
    }
    match row.role {
        Part::Response => (glyphs.ok.to_owned(), StyleRole::Ok),
        Part::InputRequired => (word(glyphs.pending, "asks"), StyleRole::Warning),
        Part::Cancel => (word(glyphs.dropped, "cancel"), StyleRole::Warning),
        _ => (String::new(), StyleRole::Dim),
    }
}
