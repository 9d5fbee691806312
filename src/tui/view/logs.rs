//! Drawing of the Logs screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::super::app::{App, Areas};
use super::super::text::{clean, fit};
use super::super::theme::StyleRole;
use crate::clock;
use crate::log::record::Level;

/// Draws the screen in `area`, and stores the place of its lines in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let shown = app.logs.shown();
    let what = if app.logs.errors_only { "warnings and errors" } else { "stderr and events" };
    let block = app.pane(format!("Logs · {what} · {}", shown.len()), true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    if shown.is_empty() {
        let text = "No output on stderr yet (this is normal).";
        frame.render_widget(Line::from(app.span(StyleRole::Dim, text)), inner);
        return;
    }
    let height = usize::from(inner.height);
    let first = app.logs.first(height);
    for (y, line) in (inner.y..).zip(shown.into_iter().skip(first).take(height)) {
        let (role, text) = match (&line.text, line.level) {
            (Some(text), Level::Info) => (StyleRole::Accent, clean(text)),
            (Some(text), Level::Warning) => (StyleRole::Warning, clean(text)),
            (Some(text), Level::Error) => (StyleRole::Error, clean(text)),
            (None, _) => {
                let record = app.log().get(line.seq);
                let text = record
                    .as_ref()
                    .and_then(|record| record.frame())
                    .map(|frame| clean(String::from_utf8_lossy(frame.message.raw()).trim_end()));
                (StyleRole::Stderr, text.unwrap_or_else(|| "(no longer in memory)".to_owned()))
            }
        };
        let time = clock::format(app.log().clock().wall(line.at), "%H:%M:%S%.3f ");
        let name = format!("{} ", clean(app.world.session_name(line.session)));
        let left = usize::from(inner.width).saturating_sub(time.len() + name.len());
        let spans = vec![
            app.span(StyleRole::Dim, time),
            app.span(StyleRole::Notice, name),
            app.span(role, fit(&text, left, app.glyphs().ellipsis)),
        ];
        frame.render_widget(Line::from(spans), Rect { y, height: 1, ..inner });
    }
}
