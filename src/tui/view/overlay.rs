//! Overlays: prompts, menus, the palette, questions, reviews, and the keys that complete a
//! sequence.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::super::app::App;
use super::super::ask::{Question, Questions};
use super::super::overlay::{COUNTED, Menu, Overlay, Palette, Prompt, Review, Wants};
use super::super::text::{clean, fit, pad};
use super::super::theme::StyleRole;
use super::{boxed, compose, hold};

/// Draws the overlay that is open, or else the keys that complete a sequence. `bar` is the place of
/// prompts.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, bar: Rect) {
    match &app.overlay {
        Some(Overlay::Prompt(prompt)) => draw_prompt(frame, app, prompt, bar),
        Some(Overlay::Menu(menu)) => draw_menu(frame, app, menu, area),
        Some(Overlay::Palette(palette)) => draw_palette(frame, app, palette, area),
        Some(Overlay::Ask(ask)) => draw_ask(frame, app, ask, area),
        Some(Overlay::Review(review)) => draw_review(frame, app, review, area),
        None => draw_sequence(frame, app, area),
    }
}

fn draw_prompt(frame: &mut Frame<'_>, app: &App, prompt: &Prompt, bar: Rect) {
    frame.render_widget(Clear, bar);
    let title = format!(" {}: ", prompt.title(|seq| app.number(seq)));
    let status = match (&prompt.error, prompt.count) {
        (Some(error), _) => format!(" {} {} ", app.glyphs().error, clean(&error.message)),
        (None, Some(count)) if app.world.rows.len() > COUNTED => {
            format!(" {} {count} of the last {COUNTED} match ", app.glyphs().ok)
        }
        (None, Some(count)) => format!(" {} {count} match ", app.glyphs().ok),
        (None, None) => String::new(),
    };
    let most = usize::from(bar.width / 2);
    let status = fit(&status, most, app.glyphs().ellipsis);
    let wide = |text: &str| u16::try_from(unicode_width::UnicodeWidthStr::width(text)).unwrap_or(0);
    let [label, input, right] = bar.layout(&Layout::horizontal([
        Constraint::Length(wide(&title)),
        Constraint::Fill(1),
        Constraint::Length(wide(&status)),
    ]));
    frame.render_widget(Line::from(app.span(StyleRole::Key, title)), label);
    hold::draw_text(frame, app, &prompt.input, input, true);
    let role = if prompt.error.is_some() { StyleRole::Error } else { StyleRole::Ok };
    frame.render_widget(Line::from(app.span(role, status)), right);
    let mut below = Rect { y: bar.y + 1, height: 1, ..bar };
    if let Some(error) = &prompt.error {
        frame.render_widget(Clear, below);
        let start = prompt.text()[..error.span.start.min(prompt.text().len())].chars().count();
        let caret = format!("{}^", " ".repeat(usize::from(input.x - bar.x) + start));
        frame.render_widget(Line::from(app.span(StyleRole::Error, caret)), below);
        below.y += 1;
    }
    let Some(completion) = &prompt.completion else { return };
    const CANDIDATES: usize = 8;
    for (word, help) in completion.candidates.iter().take(CANDIDATES) {
        if below.y >= frame.area().bottom().saturating_sub(1) {
            return;
        }
        let place = Rect { x: input.x, width: input.width.min(60), ..below };
        frame.render_widget(Clear, place);
        let line = Line::from(vec![
            app.span(StyleRole::Chip, pad(&clean(word), 16, app.glyphs().ellipsis)),
            app.span(StyleRole::Dim, format!(" {help}")),
        ]);
        frame.render_widget(line, place);
        below.y += 1;
    }
    if prompt.wants == Wants::Filter && below.y < frame.area().bottom().saturating_sub(1) {
        let place = Rect { x: input.x, width: input.width.min(60), ..below };
        frame.render_widget(Clear, place);
        let hint = "Tab completes · Enter applies · Ctrl-t highlights instead";
        frame.render_widget(Line::from(app.span(StyleRole::Dim, hint)), place);
    }
}

fn draw_menu(frame: &mut Frame<'_>, app: &App, menu: &Menu, area: Rect) {
    let widest = menu.items.iter().map(|(_, text, _)| text.chars().count()).max().unwrap_or(0);
    let width = widest.max(menu.title.chars().count()) + 10;
    let height = u16::try_from(menu.items.len() + 3).unwrap_or(5);
    let place = boxed(frame, area, u16::try_from(width).unwrap_or(area.width), height);
    let block = app.pane(menu.title.clone(), true);
    let inner = block.inner(place);
    frame.render_widget(block, place);
    for (y, (key, text, _)) in (inner.y..inner.bottom()).zip(&menu.items) {
        let line = Line::from(vec![
            app.span(StyleRole::Key, format!("  {key}  ")),
            app.span(StyleRole::Text, clean(text)),
        ]);
        frame.render_widget(line, Rect { y, height: 1, ..inner });
    }
    let last = Rect { y: inner.bottom().saturating_sub(1), height: 1, ..inner };
    frame.render_widget(Line::from(app.span(StyleRole::Dim, "  Esc  cancel")), last);
}

/// Returns the width of a review on a screen of this many columns.
pub(in crate::tui) fn review_width(columns: u16) -> u16 {
    columns.saturating_sub(4).min(110)
}

fn draw_review(frame: &mut Frame<'_>, app: &App, review: &Review, area: Rect) {
    let width = review_width(area.width);
    let rows = review.rows(usize::from(width.saturating_sub(2)));
    let height = u16::try_from(rows.len() + 3).unwrap_or(u16::MAX).min(area.height.saturating_sub(2));
    let place = boxed(frame, area, width, height);
    let client = &review.change.place;
    let block = app.pane(format!("{}: {}", client.client.title, client.path.display()), true);
    let inner = block.inner(place);
    frame.render_widget(block, place);
    let [list, keys] = inner.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]));
    let lines = rows.iter().skip(review.top).take(usize::from(list.height));
    for (y, (sign, text)) in (list.y..).zip(lines) {
        let role = match sign {
            '-' => StyleRole::Error,
            '+' => StyleRole::Ok,
            _ => StyleRole::Dim,
        };
        let text = fit(&format!("{sign} {}", clean(text)), usize::from(list.width), app.glyphs().ellipsis);
        frame.render_widget(Line::from(app.span(role, text)), Rect { y, height: 1, ..list });
    }
    let line = Line::from(vec![
        app.span(StyleRole::Key, "  j k"),
        app.span(StyleRole::Dim, " scroll   "),
        app.span(StyleRole::Key, "Enter"),
        app.span(StyleRole::Dim, " changes the file   "),
        app.span(StyleRole::Key, "Esc"),
        app.span(StyleRole::Dim, " leaves it as it is"),
    ]);
    frame.render_widget(line, keys);
}

fn draw_palette(frame: &mut Frame<'_>, app: &App, palette: &Palette, area: Rect) {
    let place =
        boxed(frame, area, area.width.saturating_sub(8).min(90), area.height.saturating_sub(4).min(24));
    let block = app.pane("Commands".to_owned(), true);
    let inner = block.inner(place);
    frame.render_widget(block, place);
    let [input, list] = inner.layout(&Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]));
    hold::draw_text(frame, app, &palette.input, input, true);
    let height = usize::from(list.height);
    let top = (palette.cursor + 1).saturating_sub(height);
    for (y, (at, command)) in (list.y..).zip(palette.found.iter().enumerate().skip(top).take(height)) {
        let row = Rect { y, height: 1, ..list };
        let here = command.places().contains(&app.active_pane());
        let why = app.why_not(*command).filter(|_| here);
        let role = if here && why.is_none() { StyleRole::Text } else { StyleRole::Dim };
        let text = match why {
            Some(why) => format!("{} ({why})", command.short()),
            None => format!("{}: {}", command.short(), command.help()),
        };
        let line = Line::from(vec![
            app.span(StyleRole::Key, pad(command.key(), 12, ' ')),
            app.span(role, fit(&text, usize::from(list.width).saturating_sub(12), app.glyphs().ellipsis)),
        ]);
        frame.render_widget(line, row);
        if at == palette.cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(row, ratatui::style::Style { fg: None, ..style });
        }
    }
}

fn draw_ask(frame: &mut Frame<'_>, app: &App, ask: &Questions, area: Rect) {
    let place =
        boxed(frame, area, area.width.saturating_sub(8).min(80), area.height.saturating_sub(4).min(22));
    let title = match &ask.question {
        Question::Sampling { .. } => "Sampling request from the server",
        Question::Form { .. } | Question::Url { .. } => "Question from the server",
    };
    let block = app.pane(title.to_owned(), true);
    let inner = block.inner(place);
    frame.render_widget(block, place);
    let said = match &ask.question {
        Question::Form { message, .. } => message.clone(),
        Question::Url { message, url } => format!("{message}\n\n{url}"),
        Question::Sampling { prompt, .. } => prompt.clone(),
    };
    let lines = u16::try_from(said.lines().count() + 1).unwrap_or(2).min(inner.height / 2);
    let [top, body, error, keys] = inner.layout(&Layout::vertical([
        Constraint::Length(lines),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ]));
    frame.render_widget(Paragraph::new(said).wrap(Wrap { trim: false }), top);
    match &ask.question {
        Question::Form { form, .. } => compose::draw_form(frame, app, form, "", body, true),
        Question::Sampling { text, .. } => hold::draw_text(frame, app, text, body, true),
        Question::Url { .. } => {
            let text = "Open the address in a browser yourself, then accept.";
            frame.render_widget(Line::from(app.span(StyleRole::Dim, text)), body);
        }
    }
    if let Some(wrong) = &ask.error {
        frame.render_widget(Line::from(app.span(StyleRole::Error, clean(wrong))), error);
    }
    let line = Line::from(vec![
        app.span(StyleRole::Key, "Ctrl-s"),
        app.span(StyleRole::Dim, " accept  "),
        app.span(StyleRole::Key, "Ctrl-d"),
        app.span(StyleRole::Dim, " decline  "),
        app.span(StyleRole::Key, "Ctrl-x"),
        app.span(StyleRole::Dim, " cancel  "),
        app.span(StyleRole::Key, "Esc"),
        app.span(StyleRole::Dim, " later"),
    ]);
    frame.render_widget(line, keys);
}

/// Draws the keys that can complete a sequence that has begun.
fn draw_sequence(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let completions = app.keymap.completions(app.active_pane());
    if completions.is_empty() {
        return;
    }
    let height = u16::try_from(completions.len() + 2).unwrap_or(4).min(area.height.saturating_sub(2));
    let width = 44.min(area.width);
    let place = Rect { x: area.right() - width, y: area.bottom() - 1 - height, width, height };
    frame.render_widget(Clear, place);
    let block = app.pane("next key".to_owned(), true);
    let inner = block.inner(place);
    frame.render_widget(block, place);
    for (y, (keys, command)) in (inner.y..inner.bottom()).zip(completions) {
        let role = if app.why_not(command).is_none() { StyleRole::Text } else { StyleRole::Dim };
        let line =
            Line::from(vec![app.span(StyleRole::Key, pad(&keys, 8, ' ')), app.span(role, command.short())]);
        frame.render_widget(line, Rect { y, height: 1, ..inner });
    }
}
