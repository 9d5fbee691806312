//! Detail pane, and other panes that show rendered rows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::super::app::{App, Areas};
use super::super::detail::Detail;
use super::super::text::{clean, duration};
use super::super::theme::StyleRole;
use crate::clock;
use crate::log::world::{FrameState, Row};

/// Draws the detail pane in `area`, and stores the place of its rows in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let view = app.detail.view.word();
    let title = match app.detail.seq {
        Some(seq) => match app.detail.node().filter(|_| app.in_detail) {
            Some(node) => format!("{} · {view} (v) · {}", app.number(seq), clean(&node.path)),
            None => format!("{} · {view} (v)", app.number(seq)),
        },
        None => "Detail".to_owned(),
    };
    let block = app.pane(title, app.in_detail);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(row) = app.detail.seq.and_then(|seq| app.world.row(seq)) else {
        frame.render_widget(Line::from(app.span(StyleRole::Dim, "select a frame")), inner);
        return;
    };
    let facts = facts(app, row);
    let height = u16::try_from(facts.len()).unwrap_or(0).min(inner.height / 2);
    let [top, rest] = inner.layout(&Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]));
    frame.render_widget(Paragraph::new(facts).wrap(Wrap { trim: false }), top);
    areas.detail = rest;
    draw_rows(frame, app, &app.detail, rest, app.in_detail);
}

/// Draws the rendered rows of a pane, with its cursor if it has the keyboard focus.
pub fn draw_rows(frame: &mut Frame<'_>, app: &App, detail: &Detail, area: Rect, focused: bool) {
    let Some(seq) = detail.seq else { return };
    let rows = detail.rows();
    if rows.is_empty() {
        // Until the worker is done, the beginning of the message is shown.
        const FIRST: usize = 4096;
        let record = app.log().get(seq);
        let text = record.as_ref().and_then(|record| record.frame()).map(|frame| {
            let raw = frame.message.raw();
            clean(&String::from_utf8_lossy(&raw[..raw.len().min(FIRST)]))
        });
        let text =
            text.unwrap_or_else(|| "this message is no longer in memory, and not on a tape".to_owned());
        frame.render_widget(Paragraph::new(app.span(StyleRole::Dim, text)).wrap(Wrap { trim: false }), area);
        return;
    }
    let visible = rows.iter().enumerate().skip(detail.top).take(usize::from(area.height));
    for (y, (at, row)) in (area.y..).zip(visible) {
        let place = Rect { y, height: 1, ..area };
        let spans: Vec<Span<'_>> =
            row.spans.iter().map(|(role, text)| app.span(*role, text.clone())).collect();
        frame.render_widget(Line::from(spans), place);
        if focused && at == detail.cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(place, ratatui::style::Style { fg: None, ..style });
        }
    }
}

/// Returns lines with the facts of a frame that are not in its message.
fn facts(app: &App, row: &Row) -> Vec<Line<'static>> {
    let handling = app.world.handling(row.seq);
    let mut first = vec![
        clock::format(app.log().clock().wall(row.at), "%H:%M:%S%.3f"),
        row.direction.as_str().to_owned(),
        row.kind.to_string(),
        format!("{} bytes", row.size),
    ];
    if let Some(taken) = row.duration() {
        first.push(format!("after {}", duration(taken)));
    }
    if let Some(op) = row.op() {
        first.push(format!("op {} {}", op.0, row.role));
    }
    if let Some(cause) = row.op().and_then(|op| app.world.operations.cause(op)) {
        let basis = if cause.presumed { " (presumed: the only call in flight)" } else { "" };
        first.push(format!("caused by op {}{basis}", cause.op.0));
    }
    let mut lines = vec![Line::from(app.span(StyleRole::Dim, first.join(" · ")))];
    let mut second = Vec::new();
    match row.state {
        FrameState::Moving => second.push("in transit".to_owned()),
        FrameState::Held => second.push("held".to_owned()),
        FrameState::Ended(outcome) => second.push(outcome.to_string()),
    }
    if let Some(held) = handling.held {
        second.push(format!("held for {}", duration(held)));
    }
    second.push(match row.origin().of() {
        Some(of) => format!("{} {}", row.origin().as_str(), app.number(of)),
        None => row.origin().as_str().to_owned(),
    });
    if let Some(by) = app.world.text(handling.by) {
        let why = app.world.text(handling.why).map(|why| format!(" ({})", clean(why)));
        second.push(format!("by {by}{}", why.unwrap_or_default()));
    }
    lines.push(Line::from(app.span(StyleRole::Dim, second.join(" · "))));
    if row.is_redacted {
        let record = app.log().get(row.seq);
        let kinds = record.as_ref().and_then(|record| record.frame()).map(|frame| frame.redacted.join(", "));
        lines.push(Line::from(
            app.span(StyleRole::Warning, format!("redacted: {}", clean(&kinds.unwrap_or_default()))),
        ));
    }
    let mut odd: Vec<String> = row.quirks.describe().map(str::to_owned).collect();
    odd.extend(row.flags.words().map(|flag| match flag {
        "late" => "arrived after its request was cancelled".to_owned(),
        "orphan" => "has no matching request".to_owned(),
        "duplicate" => "reuses a request id that is in flight or was answered".to_owned(),
        _ => "request id is spelled differently in the request".to_owned(),
    }));
    odd.extend(app.world.illegal(row));
    if !odd.is_empty() {
        lines.push(Line::from(
            app.span(StyleRole::Warning, format!("{} {}", app.glyphs().warning, odd.join("; "))),
        ));
    }
    let notes = app.world.notes.iter().filter(|(_, _, _, note)| note.frame == Some(row.seq));
    lines.extend(notes.map(|(_, _, _, note)| {
        Line::from(app.span(StyleRole::Accent, format!("note: {}", clean(&note.text))))
    }));
    lines.push(Line::default());
    lines
}
