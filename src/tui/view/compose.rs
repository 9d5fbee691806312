//! Drawing of the Composer screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

use super::super::app::{App, Areas};
use super::super::composer::{Draft, Focus, SentMessage, not_a_message, not_json};
use super::super::form::Form;
use super::super::text::{clean, duration, fit, pad};
use super::super::theme::StyleRole;
use super::{detail, hold};
use crate::log::world::{FrameState, State};
use crate::mcp::Direction;

/// Draws the screen in `area`, and stores the places of the offers and of the reply in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let focus = app.composer.focus;
    if area.width >= 100 {
        let [list, draft, reply] =
            area.layout(&Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3), Constraint::Fill(3)]));
        draw_offers(frame, app, list, areas);
        draw_draft(frame, app, draft);
        draw_reply(frame, app, reply, areas);
        return;
    }
    // On a narrow screen, the pane with the keyboard focus and the reply share the room.
    let [top, bottom] = area.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]));
    match focus {
        Focus::List => draw_offers(frame, app, top, areas),
        Focus::Draft | Focus::Reply => draw_draft(frame, app, top),
    }
    draw_reply(frame, app, bottom, areas);
}

fn draw_offers(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let composer = &app.composer;
    let unread = match composer.flaws.len() {
        0 => String::new(),
        flaws => format!(" · {flaws} could not be read"),
    };
    let title = format!("Offers {}{unread}", composer.offers.len());
    let block = app.pane(title, composer.focus == Focus::List);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    if let Some(flaw) = composer.flaws.first().filter(|_| composer.offers.is_empty()) {
        let text = clean(flaw);
        frame.render_widget(
            Paragraph::new(app.span(StyleRole::Warning, text)).wrap(Wrap { trim: true }),
            inner,
        );
        return;
    }
    if composer.offers.is_empty() {
        let text = "No tools listed yet. Servers started with `tui -- CMD` are asked automatically; Ctrl-n writes a message.";
        frame.render_widget(Paragraph::new(app.span(StyleRole::Dim, text)).wrap(Wrap { trim: true }), inner);
        return;
    }
    let glyphs = app.glyphs();
    let height = usize::from(inner.height);
    let top = (composer.cursor + 1).saturating_sub(height);
    for (y, (at, offer)) in (inner.y..).zip(composer.offers.iter().enumerate().skip(top).take(height)) {
        let place = Rect { y, height: 1, ..inner };
        let mark = if offer.destructive { glyphs.warning } else { " " };
        let width = usize::from(inner.width).saturating_sub(11);
        let line = Line::from(vec![
            app.span(StyleRole::Dim, pad(offer.kind.word(), 9, ' ')),
            app.span(StyleRole::Warning, pad(mark, 2, ' ')),
            app.span(StyleRole::Text, pad(&clean(&offer.name), width, glyphs.ellipsis)),
        ]);
        frame.render_widget(line, place);
        if at == composer.cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(place, ratatui::style::Style { fg: None, ..style });
        }
    }
}

fn draw_draft(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let focused = app.composer.focus == Focus::Draft;
    let title = match &app.composer.draft {
        None => "Compose".to_owned(),
        Some(Draft::Call { offer, as_json, .. }) => {
            format!("{} · {}", clean(&offer.name), if *as_json { "JSON" } else { "form" })
        }
        Some(Draft::Message { to: Direction::ToServer, .. }) => "message to the server".to_owned(),
        Some(Draft::Message { to: Direction::ToClient, .. }) => "message to the client".to_owned(),
    };
    let block = app.pane(title, focused);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [body, status] = inner.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]));
    let wrong = match &app.composer.draft {
        None => {
            let text = "Enter on a tool opens its form. R on a frame edits a copy of it. Ctrl-n starts a new message.";
            frame.render_widget(
                Paragraph::new(app.span(StyleRole::Dim, text)).wrap(Wrap { trim: true }),
                body,
            );
            return;
        }
        Some(Draft::Call { offer, form, as_json: false, .. }) => {
            draw_form(frame, app, form, &offer.description, body, focused);
            form.value().err()
        }
        Some(Draft::Call { text, .. }) => {
            hold::draw_text(frame, app, text, body, focused);
            not_json(&text.lines().join("\n"))
        }
        Some(Draft::Message { text, .. }) => {
            hold::draw_text(frame, app, text, body, focused);
            not_a_message(&text.lines().join("\n"))
        }
    };
    let (role, text) = match wrong {
        Some(wrong) => (StyleRole::Error, format!("{} {}", app.glyphs().error, clean(&wrong))),
        None => (StyleRole::Ok, format!("{} Ctrl-s sends", app.glyphs().ok)),
    };
    frame.render_widget(Line::from(app.span(role, text)), status);
}

/// Draws a form with two lines per field: its name and description, then its input. `about` is a
/// description of the whole; `focused` shows the cursor.
pub fn draw_form(frame: &mut Frame<'_>, app: &App, form: &Form, about: &str, area: Rect, focused: bool) {
    let glyphs = app.glyphs();
    let width = usize::from(area.width);
    let mut y = area.y;
    if !about.is_empty() && area.height > 4 {
        let place = Rect { y, height: 1, ..area };
        frame.render_widget(Line::from(app.span(StyleRole::Dim, fit(about, width, glyphs.ellipsis))), place);
        y += 2;
    }
    if form.fields.is_empty() {
        let place = Rect { y, height: 1, ..area };
        frame.render_widget(Line::from(app.span(StyleRole::Dim, "takes no arguments")), place);
        return;
    }
    let rows = usize::from(area.bottom().saturating_sub(y) / 2).max(1);
    let top = (form.cursor + 1).saturating_sub(rows);
    for (at, field) in form.fields.iter().enumerate().skip(top).take(rows) {
        let current = focused && at == form.cursor;
        let required = if field.required { "*" } else { "" };
        let mut spans = vec![
            app.span(
                if current { StyleRole::Accent } else { StyleRole::JsonKey },
                format!("{}{required} ", clean(&field.name)),
            ),
            app.span(
                StyleRole::Dim,
                fit(&field.title, width.saturating_sub(field.name.len() + 2), glyphs.ellipsis),
            ),
        ];
        if let Err(wrong) = field.value()
            && !field.text().is_empty()
        {
            spans.push(app.span(StyleRole::Error, format!(" {} {}", glyphs.error, clean(&wrong))));
        }
        frame.render_widget(Line::from(spans), Rect { y, height: 1, ..area });
        let place = Rect { x: area.x + 2, y: y + 1, width: area.width.saturating_sub(2), height: 1 };
        if place.y < area.bottom() {
            if field.text().is_empty() && !current {
                frame.render_widget(Line::from(app.span(StyleRole::Dim, field.kind.hint())), place);
            } else {
                hold::draw_text(frame, app, &field.input, place, current);
            }
        }
        y += 2;
    }
}

fn draw_reply(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let title = reply_title(app);
    let block = app.pane(title, app.composer.focus == Focus::Reply);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.detail = inner;
    detail::draw_rows(frame, app, &app.reply, inner, app.composer.focus == Focus::Reply);
}

/// Returns the title of the reply pane, which tells the state of the message sent last.
fn reply_title(app: &App) -> String {
    let held = |seq: u64| app.world.row(seq).is_some_and(|row| matches!(row.state, FrameState::Held));
    if let Some(row) = app.reply.seq.and_then(|seq| app.world.row(seq)) {
        let taken = row.duration().map(duration).unwrap_or_default();
        let word = if row.is_error { "error" } else { "reply" };
        let held = if held(row.seq) { " · held (3 shows it)" } else { "" };
        return format!("{word} {} · {taken}{held}", app.number(row.seq));
    }
    let first = match &app.composer.sent {
        None => return "Reply".to_owned(),
        Some(SentMessage::Id(..)) => None,
        Some(SentMessage::Frame(seq)) => Some(*seq),
        Some(SentMessage::Operation(op)) => {
            app.world.operation(*op).and_then(|operation| app.world.last_of(operation)).map(|row| row.seq)
        }
    };
    let lost = match &app.composer.sent {
        Some(SentMessage::Operation(op)) => app.world.operation(*op).filter(|op| op.state == State::Lost),
        _ => None,
    };
    if let Some(operation) = lost {
        let session = app.world.sessions.get(&operation.session);
        let exit = session.and_then(|session| session.closed.as_ref()?.exit);
        let how = exit.map_or_else(String::new, |exit| format!(", {exit}"));
        return format!("no reply: the server ended{how}");
    }
    match first.and_then(|seq| app.world.row(seq)) {
        Some(row) if held(row.seq) => format!("{} is held, 3 shows it", app.number(row.seq)),
        Some(row) if row.op().is_none() => format!("sent as {}; no reply expected", app.number(row.seq)),
        _ => "waiting for the reply".to_owned(),
    }
}
