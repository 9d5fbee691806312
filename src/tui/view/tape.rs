//! Tape screen: timeline, frames, and the state at the playhead.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::app::{App, Areas};
use super::super::scrub::{SLOTS, bookmarks};
use super::super::text::{clean, count, duration, fit};
use super::super::theme::StyleRole;
use super::{detail, frames};
use crate::clock;
use crate::log::record::Seq;

/// Width of the label before each lane, in columns.
const LABEL: u16 = 6;
/// Signs for the count in a column, from small to large.
const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Returns the number of columns of the timeline on a screen of this width.
pub fn columns(width: u16) -> usize {
    usize::from(width.saturating_sub(LABEL + 1))
}

/// Draws the screen in `area`, and stores the places of the list and of the detail pane in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    // Rows that remain for the list on a low screen.
    const LIST: u16 = 6;
    let picture = picture(app);
    let height = u16::try_from(picture.len()).unwrap_or(0).min(area.height.saturating_sub(LIST));
    let [top, rest] = area.layout(&Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]));
    frame.render_widget(Paragraph::new(picture), top);
    if app.in_detail && rest.width < super::WIDE {
        detail::draw(frame, app, rest, areas);
        return;
    }
    if app.zoomed && !app.in_detail {
        draw_card(frame, app, rest);
        return;
    }
    if app.zoomed {
        detail::draw(frame, app, rest, areas);
        return;
    }
    let [left, right] = rest.layout(&Layout::horizontal([Constraint::Fill(6), Constraint::Fill(5)]));
    frames::draw(frame, app, left, areas);
    if app.in_detail {
        detail::draw(frame, app, right, areas);
    } else {
        areas.detail = right;
        draw_card(frame, app, right);
    }
}

/// Returns the timeline, one line per lane.
fn picture(app: &App) -> Vec<Line<'static>> {
    let lanes = &app.scrub.lanes;
    let time = app.playhead();
    let head = lanes.column(time);
    let lane = |label: &str, counts: &[u32], role: StyleRole| {
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let mut spans = vec![app.span(StyleRole::Dim, format!("{label:<5} "))];
        for (column, count) in counts.iter().enumerate() {
            let sign = match *count {
                0 if Some(column) == head => "│",
                0 => " ",
                count => {
                    // Use a logarithmic scale: one error beside a thousand answers must be visible.
                    let share = f64::from(count).ln_1p() / f64::from(most).ln_1p();
                    BLOCKS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
                }
            };
            spans.push(app.span(if Some(column) == head { StyleRole::Cursor } else { role }, sign));
        }
        Line::from(spans)
    };
    let mut lines = vec![
        standing(app),
        ruler(app, head),
        lane("c→s", &lanes.to_server, StyleRole::ToServer),
        lane("s→c", &lanes.to_client, StyleRole::ToClient),
        lane("note", &lanes.notices, StyleRole::Notice),
        lane("err", &lanes.errors, StyleRole::Error),
    ];
    if lanes.stderr.iter().any(|count| *count > 0) {
        lines.push(lane("stder", &lanes.stderr, StyleRole::Stderr));
    }
    if lanes.held.iter().any(|count| *count > 0) {
        lines.push(lane("held", &lanes.held, StyleRole::Held));
    }
    let drawn: usize = lanes.spans.len();
    if drawn > 0 {
        let is_used = |slot: &usize| lanes.spans.iter().any(|span| span.slot == *slot);
        lines.extend((0..SLOTS).filter(is_used).map(|slot| operations(app, slot)));
    } else {
        lines.push(lane("ops", &lanes.in_flight, StyleRole::Accent));
    }
    if let Some(marks) = marks(app) {
        lines.push(marks);
    }
    lines
}

/// Returns the line with the playhead, its speed and the visible time span.
fn standing(app: &App) -> Line<'static> {
    let lanes = &app.scrub.lanes;
    let wall = |time| clock::format(app.log().clock().wall(time), "%H:%M:%S");
    let place = app.frame_in_view().and_then(|seq| app.world.row_index(seq)).map_or(0, |place| place + 1);
    let player = &app.scrub.player;
    let sign = if player.is_playing() { "▶" } else { "‖" };
    let now = clock::format(app.log().clock().wall(app.playhead()), "%H:%M:%S%.3f");
    let drawn = format!("{} to {}", wall(lanes.from), wall(lanes.until));
    let zoom =
        if app.scrub.zoom > 0 { format!(" ({}x closer)", 2_u64.pow(app.scrub.zoom)) } else { String::new() };
    let mut spans = vec![
        app.span(StyleRole::Title, format!(" {now} ")),
        app.span(StyleRole::Accent, format!(" {sign} {} ", player.speed())),
        app.span(StyleRole::Text, format!(" frame {place}/{} ", app.world.rows.len())),
        app.span(StyleRole::Dim, format!(" {drawn}{zoom} ")),
    ];
    if app.is_live() {
        spans.push(match app.frames_follow() {
            true => app.span(StyleRole::Ok, format!(" {} live edge", app.glyphs().live)),
            false => app.span(StyleRole::Warning, " G returns to the live edge"),
        });
    }
    Line::from(spans)
}

fn ruler(app: &App, head: Option<usize>) -> Line<'static> {
    let role = if app.frames_follow() { StyleRole::Dim } else { StyleRole::Accent };
    let columns = 0..app.scrub.lanes.to_server.len();
    let bar: String = columns.map(|at| if Some(at) == head { '●' } else { '─' }).collect();
    Line::from(vec![Span::raw(" ".repeat(usize::from(LABEL))), app.span(role, bar)])
}

/// Returns a row of operations that are drawn one by one.
fn operations(app: &App, slot: usize) -> Line<'static> {
    let mut spans = vec![app.span(StyleRole::Dim, format!("{:<5} ", if slot == 0 { "ops" } else { "" }))];
    let mut column = 0;
    for span in app.scrub.lanes.spans.iter().filter(|span| span.slot == slot) {
        let inside = span.until - span.from - 1;
        let name = span.op.to_string();
        let before = inside.saturating_sub(name.len()) / 2;
        let after = inside.saturating_sub(name.len() + before);
        spans.push(Span::raw(" ".repeat(span.from - column)));
        let text = format!("╞{}{name}{}╡", "═".repeat(before), "═".repeat(after));
        spans.push(app.span(StyleRole::Accent, text));
        column = span.until + 1;
    }
    Line::from(spans)
}

/// Returns the bookmarks at their columns, each with as much of its label as there is room for.
fn marks(app: &App) -> Option<Line<'static>> {
    let lanes = &app.scrub.lanes;
    let mut spans = vec![app.span(StyleRole::Dim, format!("{:<5} ", "marks"))];
    let mut column = 0;
    let there = bookmarks(&app.world);
    let placed = there
        .iter()
        .filter_map(|(mark, frame, text)| Some((*mark, lanes.column(app.world.row(*frame)?.at)?, *text)));
    let placed: Vec<_> = placed.collect();
    for (at, (mark, from, text)) in placed.iter().enumerate() {
        if *from < column {
            continue;
        }
        let room = placed.get(at + 1).map_or(lanes.to_server.len(), |(_, next, _)| *next) - from;
        // The letter is never cut, because the user goes to the bookmark by it.
        let words = fit(&format!(" {}", clean(text)), room.saturating_sub(3), '…');
        let text = format!("{mark}▲{words}");
        spans.push(Span::raw(" ".repeat(from - column)));
        column = from + text.chars().count();
        spans.push(app.span(StyleRole::Held, text));
    }
    (!placed.is_empty()).then(|| Line::from(spans))
}

/// Wraps words into lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

/// Draws the state at the playhead.
fn draw_card(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let seq: Seq = app.frame_in_view().unwrap_or(app.world.last);
    let block = app.pane(format!("As of {}", app.number(seq)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let card = &app.scrub.card;
    let width = usize::from(inner.width);
    let line = |role, text: String| Line::from(app.span(role, fit(&clean(&text), width, '…')));
    let mut lines = Vec::new();
    if card.sessions.is_empty() {
        lines.push(line(StyleRole::Dim, "no open session at this time".into()));
    }
    for session in &card.sessions {
        lines.push(line(StyleRole::Title, format!("{} · {}", session.title, session.era)));
        for (side, can) in &session.sides {
            lines.push(line(StyleRole::Text, format!("  {side}")));
            if !can.is_empty() {
                lines.push(line(StyleRole::Dim, format!("    capabilities: {can}")));
            }
        }
        if !session.tools.is_empty() {
            let noun = if session.tools.len() == 1 { "tool" } else { "tools" };
            let words = format!("{} {noun}: {}", session.tools.len(), session.tools.join(" "));
            lines.extend(
                wrapped(&clean(&words), width.saturating_sub(2))
                    .map(|words| line(StyleRole::Text, format!("  {words}"))),
            );
        }
        if !session.added.is_empty() {
            lines.push(line(StyleRole::Ok, format!("  + {}", session.added.join(" "))));
        }
        if !session.removed.is_empty() {
            lines.push(line(StyleRole::Error, format!("  - {}", session.removed.join(" "))));
        }
    }
    let time = app.playhead();
    lines.push(line(StyleRole::Title, format!("In flight {}", card.in_flight.len() + card.more)));
    for (op, what, since) in &card.in_flight {
        lines.push(line(StyleRole::Warning, format!("  {op} {what} {}", duration(time.since(*since)))));
    }
    if card.more > 0 {
        lines.push(line(StyleRole::Dim, format!("  and {} more", card.more)));
    }
    if !card.subscriptions.is_empty() {
        lines.push(line(StyleRole::Title, format!("Subscriptions {}", card.subscriptions.len())));
        lines.extend(card.subscriptions.iter().map(|what| line(StyleRole::Text, format!("  {what}"))));
    }
    lines.push(line(StyleRole::Dim, format!("about {} tokens so far (bytes / 4)", count(card.tokens))));
    let notes = app.world.notes.iter().filter(|(.., note)| note.frame == Some(seq));
    lines.extend(notes.map(|(.., note)| line(StyleRole::Held, format!("{}: {}", note.by, note.text))));
    frame.render_widget(Paragraph::new(lines), inner);
}
