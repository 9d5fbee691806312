//! Help screen: all commands, those of the screen before it first, and the fields of queries.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::super::app::{App, Areas};
use super::super::command::{Cmd, Pane};
use super::super::text::pad;
use super::super::theme::StyleRole;
use crate::log::query::Field;

/// Draws the screen in `area`, and stores the place of its lines in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let block = app.pane(format!("Help · {}", app.before_help.title()), true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    let lines = lines(app);
    let top = app.help_top.min(lines.len().saturating_sub(usize::from(inner.height)));
    for (y, line) in (inner.y..).zip(lines.into_iter().skip(top).take(usize::from(inner.height))) {
        frame.render_widget(line, Rect { y, height: 1, ..inner });
    }
}

fn lines(app: &App) -> Vec<Line<'static>> {
    let here = app.before_help;
    let mut lines = Vec::new();
    let applies = |command: &&Cmd| {
        command.places().contains(&here) || (here == Pane::Frames && command.places().contains(&Pane::Detail))
    };
    let row = |command: &Cmd| {
        Line::from(vec![
            app.span(StyleRole::Key, pad(&format!("  {}", command.keys().join("  ")), 22, ' ')),
            app.span(StyleRole::Text, command.help()),
            app.span(StyleRole::Dim, format!("  ({})", command.id())),
        ])
    };
    lines.push(Line::from(app.span(StyleRole::Title, format!("On {}", here.title()))));
    lines.extend(Cmd::ALL.iter().filter(applies).map(row));
    lines.push(Line::default());
    lines.push(Line::from(app.span(StyleRole::Title, "Elsewhere")));
    lines.extend(Cmd::ALL.iter().filter(|command| !applies(command)).map(row));
    lines.push(Line::default());
    lines.push(Line::from(
        app.span(StyleRole::Title, "Queries: a space is AND, OR or | is or, NOT or - is not, ( ) group"),
    ));
    lines.extend(Field::ALL.iter().map(|field| {
        let values = match field.values() {
            [] => String::new(),
            values => format!("  ({})", values.join(" ")),
        };
        Line::from(vec![
            app.span(StyleRole::Key, pad(&format!("  {}:", field.word()), 22, ' ')),
            app.span(StyleRole::Text, field.help()),
            app.span(StyleRole::Dim, values),
        ])
    }));
    lines
}
