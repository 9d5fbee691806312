//! Drawing of the Doctor screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::app::{App, Areas};
use super::super::text::{clean, fit};
use super::super::theme::StyleRole;
use crate::doctor::CheckResult;

/// Draws the screen in `area`, and stores the place of the checks in `areas`.
pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect, areas: &mut Areas) {
    let doctor = &app.doctor;
    let of = app.doctor_of().and_then(|id| app.world.sessions.get(&id));
    let of = of.map_or_else(|| "every session".to_owned(), |session| clean(&session.opened.name));
    let title = format!(
        "Doctor · {of} · {} failed, {} warned, {} passed",
        doctor.count(CheckResult::Failed),
        doctor.count(CheckResult::Warned),
        doctor.count(CheckResult::Passed)
    );
    let block = app.pane(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    areas.list = inner;
    let lines = lines(app, usize::from(inner.width));
    let top = doctor.top.min(lines.len().saturating_sub(1));
    for (y, line) in (inner.y..inner.bottom()).zip(lines.into_iter().skip(top)) {
        frame.render_widget(line, Rect { y, height: 1, ..inner });
    }
}

fn lines(app: &App, width: usize) -> Vec<Line<'static>> {
    let glyphs = app.glyphs();
    let mut lines = Vec::new();
    for check in &app.doctor.checks {
        let (sign, role) = match check.verdict {
            CheckResult::Passed => (glyphs.ok, StyleRole::Ok),
            CheckResult::Warned => (glyphs.warning, StyleRole::Warning),
            CheckResult::Unjudged => ("?", StyleRole::Warning),
            CheckResult::Failed => (glyphs.error, StyleRole::Error),
            CheckResult::Skipped => ("-", StyleRole::Dim),
        };
        let is_fine = matches!(check.verdict, CheckResult::Passed | CheckResult::Skipped);
        let mut spans: Vec<Span<'static>> = vec![app.span(role, format!("{sign} "))];
        spans.push(app.span(if is_fine { StyleRole::Text } else { role }, check.title));
        if is_fine {
            let evidence = check.evidence.first().map(|line| clean(line)).unwrap_or_default();
            let room = width.saturating_sub(check.title.len() + 5);
            spans.push(app.span(StyleRole::Dim, format!("  {}", fit(&evidence, room, glyphs.ellipsis))));
            lines.push(Line::from(spans));
            continue;
        }
        lines.push(Line::from(spans));
        let text = |role, text: String| {
            Line::from(app.span(role, fit(&format!("    {}", clean(&text)), width, glyphs.ellipsis)))
        };
        lines.extend(check.evidence.iter().map(|line| text(StyleRole::Text, line.clone())));
        lines.extend(check.fix.iter().map(|fix| text(StyleRole::Accent, format!("fix: {fix}"))));
    }
    lines
}
