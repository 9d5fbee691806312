//! Drawing of the Diff screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::super::app::{App, Areas};
use super::super::diff::DiffLineKind;
use super::super::text::{clean, fit};
use super::super::theme::StyleRole;

/// Draws the screen in `area`, and stores the place of the report in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let diff = &app.diff;
    let title = match &diff.asked {
        Some(asked) => format!("Diff · {}", clean(&asked.title())),
        None => "Diff".to_owned(),
    };
    let block = app.pane(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    let empty = match (&diff.report, diff.working) {
        (_, true) => Some("comparing …"),
        (None, false) => {
            Some("press = to choose a recording to compare with, or #1 #2 for two sessions of this one")
        }
        _ => None,
    };
    if let Some(text) = empty {
        frame.render_widget(Line::from(app.span(StyleRole::Dim, text)), inner);
        return;
    }
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let top = (diff.cursor + 1).saturating_sub(height);
    for (y, (at, line)) in (inner.y..).zip(diff.lines.iter().enumerate().skip(top).take(height)) {
        let (indent, role) = match line.kind {
            DiffLineKind::Heading => ("", StyleRole::Title),
            DiffLineKind::Good => ("  ", StyleRole::Ok),
            DiffLineKind::Bad => ("  ", StyleRole::Error),
            DiffLineKind::Detail => ("      ", StyleRole::Text),
            DiffLineKind::Dim => ("  ", StyleRole::Dim),
        };
        let text = fit(&format!("{indent}{}", clean(&line.text)), width, app.glyphs().ellipsis);
        let place = Rect { y, height: 1, ..inner };
        frame.render_widget(Line::from(app.span(role, text)), place);
        if at == diff.cursor {
            let style = app.appearance.theme.style(StyleRole::Selected);
            frame.buffer_mut().set_style(place, ratatui::style::Style { fg: None, ..style });
        }
    }
}
