//! Drawing of the Sessions screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::super::app::{App, Areas};
use super::super::sessions::{FrameRate, SessionListLine as Entry, context_cost};
use super::super::text::{clean, count, duration, fit, pad};
use super::super::theme::StyleRole;
use crate::clock;
use crate::log::record::Facts;
use crate::log::world::SessionOverview;

/// Width in columns from which the card is beside the list.
const WIDE: u16 = 110;
/// Titles and widths of the columns after the name.
const COLUMNS: [(&str, usize); 9] = [
    ("CLIENT", 16),
    ("VIA", 6),
    ("ERA", 6),
    ("UP", 8),
    ("MSG/S", 14),
    ("ERR", 5),
    ("HELD", 5),
    ("CTX", 7),
    ("LAST", 8),
];

/// Draws the screen in `area`, and stores the place of the list in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let lines = app.sessions.lines(&app.world);
    if lines.is_empty() {
        draw_empty(frame, app, area);
        return;
    }
    let [left, right] = match area.width >= WIDE {
        true => area.layout(&Layout::horizontal([Constraint::Fill(3), Constraint::Length(38)])),
        false => area.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(0)])),
    };
    let live = app.world.sessions.values().filter(|session| session.closed.is_none()).count();
    let title = match live {
        _ if app.mode.is_tape() => "Sessions of this recording".to_owned(),
        0 => "Nothing is running".to_owned(),
        1 => "1 session runs".to_owned(),
        live => format!("{live} sessions run"),
    };
    let block = app.pane(title, true);
    let inner = block.inner(left);
    frame.render_widget(block, left);
    let columns = shown(usize::from(inner.width));
    let name = usize::from(inner.width).saturating_sub(columns.iter().map(|(_, width)| width).sum());
    let header: String = columns.iter().map(|(title, width)| pad(title, *width, ' ')).collect();
    let head = Rect { height: 1, ..inner };
    frame.render_widget(Line::from(app.span(StyleRole::Dim, pad("NAME", name, ' ') + &header)), head);
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    areas.list = list;
    let cursor = app.sessions.cursor.min(lines.len() - 1);
    let top = (cursor + 1).saturating_sub(usize::from(list.height));
    for (y, (at, entry)) in (list.y..).zip(lines.iter().enumerate().skip(top).take(usize::from(list.height)))
    {
        let place = Rect { y, height: 1, ..list };
        let line = match entry {
            Entry::Session(id) => match app.world.sessions.get(id) {
                Some(session) => session_line(app, session, name, columns),
                None => continue,
            },
            Entry::Engine(at) => engine_line(app, *at, name),
            Entry::Tape(at) => tape_line(app, *at, usize::from(list.width)),
        };
        frame.render_widget(line, place);
        if at == cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(place, ratatui::style::Style { fg: None, ..style });
        }
    }
    if right.width > 0 {
        draw_card(frame, app, lines[cursor], right);
    }
}

/// Returns the columns that fit beside a name.
fn shown(width: usize) -> &'static [(&'static str, usize)] {
    const NAME: usize = 16;
    let mut used = NAME;
    let fits = COLUMNS.iter().take_while(|(_, width_of)| {
        used += width_of;
        used <= width
    });
    &COLUMNS[..fits.count()]
}

fn session_line(
    app: &App,
    session: &SessionOverview,
    name: usize,
    columns: &[(&str, usize)],
) -> Line<'static> {
    let glyphs = app.glyphs();
    let live = session.closed.is_none();
    let cell = |role: StyleRole, text: &str, width: usize| {
        app.span(role, pad(&fit(text, width.saturating_sub(1), glyphs.ellipsis), width, ' '))
    };
    let sign = match (live, session.is_down) {
        (true, true) => glyphs.error,
        (true, false) => glyphs.live,
        (false, _) => glyphs.dropped,
    };
    let failed = session
        .closed
        .as_ref()
        .is_some_and(|closed| matches!(closed.exit, Some(exit) if exit != crate::log::record::Exit::Code(0)));
    let role = match (live, failed) {
        (true, _) if session.is_down => StyleRole::Error,
        (true, _) => StyleRole::Ok,
        (false, true) => StyleRole::Error,
        (false, false) => StyleRole::Dim,
    };
    let mut spans = vec![cell(role, &format!("{sign} {}", clean(&session.opened.name)), name)];
    for (title, width) in columns {
        let (role, text) = session_cell(app, session, title);
        spans.push(cell(role, &text, *width));
    }
    Line::from(spans)
}

fn session_cell(app: &App, session: &SessionOverview, title: &str) -> (StyleRole, String) {
    let number =
        |role: StyleRole, number: u64| (if number > 0 { role } else { StyleRole::Dim }, number.to_string());
    let end = session.closed_at.map_or_else(|| app.now(), |(_, at)| at);
    let pace = app.sessions.pace(session.id);
    match title {
        "CLIENT" => (StyleRole::Text, who(session.client.as_ref())),
        "VIA" => (StyleRole::Dim, via(session).to_owned()),
        "ERA" => (StyleRole::Text, session.era().map(|era| era.as_str().to_owned()).unwrap_or_default()),
        "UP" => (StyleRole::Dim, duration(end.since(session.since))),
        "MSG/S" => {
            (StyleRole::Accent, pace.filter(|_| session.closed.is_none()).map(drawn).unwrap_or_default())
        }
        "ERR" => number(StyleRole::Error, session.errors),
        "HELD" => {
            let of = |seq: &&u64| app.world.row(**seq).is_some_and(|row| row.session == session.id);
            number(StyleRole::Held, app.world.held.iter().filter(of).count() as u64)
        }
        "CTX" => (StyleRole::Dim, context_cost(&app.world, session).map(count).unwrap_or_default()),
        _ => {
            let ago = pace.filter(|pace| pace.last > crate::clock::Stamp::default());
            (StyleRole::Dim, ago.map(|pace| duration(app.now().since(pace.last))).unwrap_or_default())
        }
    }
}

/// Returns a bar chart of the last seconds, and the number of frames in the newest one.
fn drawn(pace: &FrameRate) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = pace.seconds.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| match value {
        0 => BARS[0],
        value => BARS[usize::try_from(value * 7 / most).unwrap_or(7).min(7)],
    };
    let bars: String = pace.seconds.iter().map(bar).collect();
    format!("{bars} {}", count(pace.seconds.last().copied().unwrap_or(0)))
}

fn via(session: &SessionOverview) -> &'static str {
    let is_url = session.opened.target.first().is_some_and(|target| target.contains("://"));
    if is_url { "http" } else { "stdio" }
}

fn who(facts: Option<&Facts>) -> String {
    let Some(facts) = facts else { return String::new() };
    let name = facts.name.as_deref().map(clean).unwrap_or_default();
    match &facts.release {
        Some(release) => format!("{name} {}", clean(release)),
        None => name,
    }
}

/// Returns the line of a running engine without a client.
fn engine_line(app: &App, at: usize, name: usize) -> Line<'static> {
    let Some(engine) = app.sessions.idle.get(at) else { return Line::default() };
    let glyphs = app.glyphs();
    let title = format!("{} {}", glyphs.pending, clean(&engine.name));
    Line::from(vec![
        app.span(StyleRole::Ok, pad(&fit(&title, name.saturating_sub(1), glyphs.ellipsis), name, ' ')),
        app.span(StyleRole::Dim, format!("{}: no client yet", clean(&engine.mode))),
    ])
}

fn tape_line(app: &App, at: usize, width: usize) -> Line<'static> {
    let Some(tape) = app.sessions.tapes.get(at) else { return Line::default() };
    let when = clock::format(tape.started, "%Y-%m-%d %H:%M");
    let errors = if tape.errors > 0 { format!(" {} errors", tape.errors) } else { String::new() };
    let glyphs = app.glyphs();
    if let Some(failure) = &tape.failure {
        let text = format!("{} {when} {}: {}", glyphs.error, clean(&tape.name), clean(failure));
        return Line::from(app.span(StyleRole::Error, fit(&text, width, glyphs.ellipsis)));
    }
    let what = format!(" {} frames{errors} {}B", count(tape.frames), count(tape.bytes));
    let name = fit(&clean(&tape.name), width.saturating_sub(what.len() + 22), glyphs.ellipsis);
    Line::from(vec![
        app.span(StyleRole::Dim, format!("{} {when} ", glyphs.record)),
        app.span(StyleRole::Text, name),
        app.span(if tape.errors > 0 { StyleRole::Warning } else { StyleRole::Dim }, what),
    ])
}

/// Draws the facts about the line under the cursor.
fn draw_card(frame: &mut Frame<'_>, app: &App, entry: Entry, area: Rect) {
    let mut lines: Vec<(StyleRole, String)> = Vec::new();
    let title = match entry {
        Entry::Session(id) => {
            let Some(session) = app.world.sessions.get(&id) else { return };
            lines.push((StyleRole::Text, clean(&session.opened.target.join(" "))));
            if let Some(directory) = &session.opened.directory {
                lines.push((StyleRole::Dim, format!("in {}", clean(directory))));
            }
            if let Some(pid) = session.opened.pid {
                lines.push((StyleRole::Dim, format!("process {pid}")));
            }
            if session.is_down {
                let text = "the server has ended, the client is still connected: Space s r restarts it";
                lines.push((StyleRole::Error, text.to_owned()));
            }
            if let Some(closed) = &session.closed {
                let how = closed.exit.map(|exit| format!(", {exit}")).unwrap_or_default();
                lines.push((StyleRole::Warning, format!("ended: {}{how}", clean(&closed.reason))));
            }
            for (side, facts) in [("server", &session.server), ("client", &session.client)] {
                lines.push((StyleRole::Dim, String::new()));
                let Some(facts) = facts else {
                    lines.push((StyleRole::Dim, format!("{side}: unknown")));
                    continue;
                };
                let version = facts.version.as_deref().map(clean).unwrap_or_default();
                lines.push((StyleRole::Title, format!("{side}: {}", who(Some(facts)))));
                lines.push((StyleRole::Dim, format!("protocol version {version}")));
                if let Some(capabilities) = &facts.capabilities {
                    lines.extend(
                        capability_names(capabilities).map(|name| (StyleRole::Text, format!("  {name}"))),
                    );
                }
            }
            clean(&session.opened.name)
        }
        Entry::Engine(at) => {
            let Some(engine) = app.sessions.idle.get(at) else { return };
            lines.push((StyleRole::Text, clean(&engine.target.join(" "))));
            lines.push((StyleRole::Dim, format!("{}, process {}", clean(&engine.mode), engine.pid)));
            lines.push((StyleRole::Dim, "waiting for the first client".to_owned()));
            clean(&engine.name)
        }
        Entry::Tape(at) => {
            let Some(tape) = app.sessions.tapes.get(at) else { return };
            lines.push((StyleRole::Text, clean(&tape.target.join(" "))));
            lines.push((StyleRole::Dim, crate::tape::files::stem(&tape.path)));
            lines.push((
                StyleRole::Dim,
                format!("lasted {}", duration(std::time::Duration::from_micros(tape.duration))),
            ));
            let era = tape.era.clone().unwrap_or_default();
            lines.push((StyleRole::Dim, format!("{} {era}", tape.transport)));
            for (side, name) in [("server", &tape.server), ("client", &tape.client)] {
                lines.extend(name.as_ref().map(|name| (StyleRole::Text, format!("{side}: {}", clean(name)))));
            }
            lines.extend(tape.failure.as_ref().map(|failure| (StyleRole::Error, clean(failure))));
            if !tape.sealed {
                lines.push((StyleRole::Warning, "recording in progress or interrupted".to_owned()));
            }
            "recording".to_owned()
        }
    };
    let block = app.pane(title, false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width).max(1);
    // Errors and warnings are wrapped rather than cut.
    let lines = lines.into_iter().flat_map(|(role, text)| {
        let whole = matches!(role, StyleRole::Error | StyleRole::Warning);
        let size = if whole { width } else { usize::MAX };
        let characters: Vec<char> = text.chars().collect();
        let parts: Vec<String> = match characters.is_empty() {
            true => vec![text],
            false => characters.chunks(size).map(|part| part.iter().collect()).collect(),
        };
        parts.into_iter().map(move |part| (role, part))
    });
    for (y, (role, text)) in (inner.y..inner.bottom()).zip(lines) {
        let text = fit(&text, width, app.glyphs().ellipsis);
        frame.render_widget(Line::from(app.span(role, text)), Rect { y, height: 1, ..inner });
    }
}

/// Returns the names of the capabilities, each with the names of its members.
fn capability_names(json: &str) -> impl Iterator<Item = String> {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let members = value.as_object().cloned().unwrap_or_default();
    members.into_iter().map(|(name, value)| {
        let inner = value.as_object().into_iter().flatten().map(|(key, _)| clean(key));
        let inner: Vec<String> = inner.collect();
        match inner.is_empty() {
            true => clean(&name),
            false => format!("{} ({})", clean(&name), inner.join(", ")),
        }
    })
}

/// Draws suggestions for when nothing runs and nothing was recorded.
fn draw_empty(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let waiting = app.appearance.waiting.clone().unwrap_or_else(|| "waiting for a session".to_owned());
    let mut lines =
        vec![(StyleRole::Title, "Nothing is running yet".to_owned()), (StyleRole::Text, String::new())];
    if app.mode.is_home() && !app.mode.is_remote() {
        let ways = [
            "w  wrap a server of your MCP client (shadowcat wrap)",
            "l  launch a server here (shadowcat tui -- CMD)",
            "o  open a recording (shadowcat tui TAPE)",
            "d  open the demo (shadowcat demo)",
            "",
        ];
        lines.extend(ways.map(|way| (StyleRole::Text, way.to_owned())));
    }
    lines.push((StyleRole::Dim, waiting));
    let width = lines.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
    let width = u16::try_from(width).unwrap_or(area.width).min(area.width);
    let left = area.x + (area.width - width) / 2;
    let top = area.y + area.height.saturating_sub(8) / 2;
    for (y, (role, text)) in (top..area.bottom()).zip(lines) {
        let place = Rect { x: left, y, width: area.right() - left, height: 1 };
        frame.render_widget(Line::from(app.span(role, text)), place);
    }
}
