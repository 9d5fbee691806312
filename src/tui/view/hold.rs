//! Drawing of the Intercept screen.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::super::app::{App, Areas};
use super::super::hold::Editing;
use super::super::text::{clean, duration, pad};
use super::super::theme::StyleRole;
use super::detail;
use crate::mcp::Direction;

/// Draws a line with all breakpoints.
pub fn draw_breakpoints(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let breakpoints = app.engine.breakpoints();
    let mut spans =
        vec![app.span(StyleRole::Dim, if breakpoints.armed { " armed: " } else { " disarmed (i): " })];
    if breakpoints.points.is_empty() {
        spans.push(app.span(StyleRole::Dim, "no breakpoints"));
    }
    for point in &breakpoints.points {
        let role = if point.enabled && breakpoints.armed { StyleRole::Chip } else { StyleRole::Dim };
        let query = clean(point.query.text());
        spans.push(app.span(role, format!(" {} {query} x{} ", point.id, point.hits)));
        spans.push(app.span(StyleRole::Dim, " "));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Draws the screen in `area`, and stores the places of the queue and of the message in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let layout = if area.width >= 100 {
        Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)])
    } else {
        Layout::vertical([Constraint::Length(5), Constraint::Fill(1)])
    };
    let [left, right] = area.layout(&layout);
    draw_queue(frame, app, left, areas);
    match &app.hold.editing {
        Some(editing) => draw_editor(frame, app, editing, right, areas),
        None => {
            let seq = app.hold.selected(&app.world);
            let title = seq.map_or_else(|| "Held message".to_owned(), |seq| app.number(seq));
            let block = app.pane(title, false);
            let inner = block.inner(right);
            frame.render_widget(block, right);
            areas.detail = inner;
            detail::draw_rows(frame, app, &app.hold.detail, inner, false);
        }
    }
}

fn draw_queue(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let inserting = app.hold.editing.as_ref().is_some_and(|editing| editing.inserting);
    let block = app.pane(format!("Held {}", app.world.held.len()), !inserting);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    if app.world.held.is_empty() {
        let points = app.engine.breakpoints().points.len();
        let text = match points {
            0 => "No frame is held. b on a frame sets a breakpoint, I holds every frame.".to_owned(),
            _ => format!("No frame is held. {points} breakpoints are set."),
        };
        let paragraph = Paragraph::new(app.span(StyleRole::Dim, text))
            .alignment(Alignment::Center)
            .wrap(ratatui::widgets::Wrap { trim: true });
        frame.render_widget(
            paragraph,
            Rect { y: inner.y + inner.height / 3, height: inner.height / 2, ..inner },
        );
        return;
    }
    let glyphs = app.glyphs();
    let height = usize::from(inner.height);
    let top = (app.hold.cursor + 1).saturating_sub(height);
    let visible = app.world.held.iter().enumerate().skip(top).take(height);
    for (y, (at, seq)) in (inner.y..).zip(visible) {
        let Some(row) = app.world.row(*seq) else { continue };
        let place = Rect { y, height: 1, ..inner };
        let handling = app.world.handling(*seq);
        let age = handling.since.map(|since| duration(app.now().since(since))).unwrap_or_default();
        let (arrow, role) = match row.direction {
            Direction::ToServer => (glyphs.to_server, StyleRole::ToServer),
            Direction::ToClient => (glyphs.to_client, StyleRole::ToClient),
        };
        let what = match row.kind.as_str() {
            "resp" => "result ",
            _ => "",
        };
        let method = app.world.text(row.method).map_or_else(|| row.kind.to_string(), clean);
        let target = app.world.text(row.target).map(clean).unwrap_or_default();
        let by = app.world.text(handling.why.or(handling.by)).map(clean).unwrap_or_default();
        let text = format!("{what}{method} {target}  ({by})");
        let number = app.number(*seq);
        let wide = (number.chars().count() + 1).clamp(6, 20);
        let width = usize::from(inner.width).saturating_sub(8 + 2 + wide);
        let line = Line::from(vec![
            app.span(StyleRole::Held, pad(&age, 7, glyphs.ellipsis)),
            app.span(StyleRole::Dim, " "),
            app.span(role, pad(arrow, 2, ' ')),
            app.span(StyleRole::Dim, pad(&number, wide, glyphs.ellipsis)),
            app.span(role, pad(&text, width, glyphs.ellipsis)),
        ]);
        frame.render_widget(line, place);
        if at == app.hold.cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(place, ratatui::style::Style { fg: None, ..style });
        }
    }
}

fn draw_editor(frame: &mut Frame<'_>, app: &App, editing: &Editing, area: Rect, areas: &mut Areas) {
    let verb = match (editing.answers, editing.keeps_headers) {
        (true, _) => "answer to",
        (false, true) => "editing, headers unchanged,",
        (false, false) => "editing",
    };
    let mode = if editing.inserting {
        "INSERT, Esc leaves, Ctrl-s sends"
    } else {
        "e resumes, Ctrl-s sends, Esc discards"
    };
    let block = app.pane(format!("{verb} {} · {mode}", app.number(editing.frame)), editing.inserting);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [text, status] = inner.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]));
    areas.detail = text;
    let panes = if app.hold.compare {
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
    } else {
        Layout::horizontal([Constraint::Length(0), Constraint::Fill(1)])
    };
    let [before, after] = text.layout(&panes);
    if app.hold.compare {
        let lines: Vec<Line<'_>> = editing
            .original
            .lines()
            .map(|line| {
                let kept = editing.text.lines().iter().any(|other| other == line);
                Line::from(app.span(if kept { StyleRole::Dim } else { StyleRole::Edited }, clean(line)))
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), before);
    }
    draw_text(frame, app, &editing.text, after, editing.inserting);
    let (role, message) = match editing.wrong() {
        None => (StyleRole::Ok, format!("{} valid JSON-RPC", app.glyphs().ok)),
        Some(wrong) => (StyleRole::Error, format!("{} {wrong}", app.glyphs().error)),
    };
    frame.render_widget(Line::from(app.span(role, message)), status);
}

/// Draws a text area in the colours of the theme, with a cursor if it has the keyboard focus.
pub fn draw_text(
    frame: &mut Frame<'_>,
    app: &App,
    text: &ratatui_textarea::TextArea<'static>,
    area: Rect,
    focused: bool,
) {
    let mut text = text.clone();
    text.set_style(app.appearance.theme.style(StyleRole::Text));
    text.set_cursor_style(app.appearance.theme.style(if focused {
        StyleRole::Cursor
    } else {
        StyleRole::Text
    }));
    frame.render_widget(&text, area);
}
