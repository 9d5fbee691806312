//! Draws the screenshot of the README: the servers and the client of the demo are real, only the
//! terminal is replaced by a buffer. `cargo run --example screenshot > examples/screen.svg`

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use shadowcat::client::Attendance;
use shadowcat::clock::Clock;
use shadowcat::demo::script;
use shadowcat::host::launch::{Launch, launch};
use shadowcat::host::{Host, Settings};
use shadowcat::intercept::Chain;
use shadowcat::log::Log;
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::mcp::Era;
use shadowcat::tape::Status;
use shadowcat::transport::child::Spec;
use shadowcat::tui::{App, AppEvent, Appearance, Effect, Theme, render, view};

const SIZE: (u16, u16) = (124, 34);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = std::env::current_exe()?.with_file_name("..").join("shadowcat");
    let log = Log::new(Clock::system(), DEFAULT_BOUND);
    let settings = Settings::default();
    let chain = Chain::of_breakpoints(&settings.breakpoints);
    let (host, engine) = Host::start(log, settings, chain);
    host.controllers().attach("screenshot");
    for (name, era, attendance) in [
        ("demo-2026", Era::Stateless, Attendance::Script(script::answer())),
        ("demo-2025", Era::Stateful, Attendance::Person),
    ] {
        let command = vec![program.display().to_string(), "demo-server".to_owned()];
        let server = Launch { name: name.into(), spec: Spec::new(command), era: Some(era), attendance };
        launch(&host, server, move |client| {
            tokio::spawn(async move {
                for step in script::steps(era) {
                    tokio::time::sleep(step.after).await;
                    if client.call(step.method, Some(step.params)).await.is_err() {
                        return;
                    }
                }
            });
        })?;
    }
    let theme = Theme::dark();
    let look = Appearance { theme, ascii: false, colour: true, themes: None, complaint: None, waiting: None };
    let recording = tokio::sync::watch::channel(Status {
        path: Some("demo.tape".into()),
        bytes: 24_000,
        ..Status::default()
    })
    .1;
    let mut app = App::new(engine.clone(), recording, look, SIZE);
    tokio::time::sleep(Duration::from_secs(5)).await;
    step(&mut app, AppEvent::Records);
    draw(&mut app)?;
    // Select the call that the server refused, so that the detail shows its error.
    for key in ['g', 'E'] {
        step(&mut app, AppEvent::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
    }
    let buffer = draw(&mut app)?;
    std::io::stdout().write_all(svg(&buffer).as_bytes())?;
    host.close_inputs();
    Ok(())
}

fn step(app: &mut App, input: AppEvent) {
    for effect in app.update(input) {
        if let Effect::Render(job) = effect {
            step(app, AppEvent::Rendered(render::render(&job)));
        }
    }
}

fn draw(app: &mut App) -> Result<Buffer, std::convert::Infallible> {
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1))?;
    let mut areas = app.areas;
    terminal.draw(|frame| areas = view::draw(frame, app))?;
    app.areas = areas;
    Ok(terminal.backend().buffer().clone())
}

/// Draws the cells as SVG, with one text element for each run of the same style.
fn svg(buffer: &Buffer) -> String {
    const CELL: (f32, f32) = (8.4, 18.0);
    let (width, height) = (f32::from(SIZE.0) * CELL.0, f32::from(SIZE.1) * CELL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#0d1117\"/>\n\
         <g xml:space=\"preserve\" font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14\">\n"
    );
    for (y, row) in buffer.content.chunks(usize::from(SIZE.0)).enumerate() {
        let mut x = 0;
        while x < row.len() {
            let style = |cell: &Cell| (cell.fg, cell.bg, cell.modifier);
            let run = row[x..].iter().take_while(|cell| style(cell) == style(&row[x])).count();
            let text: String = row[x..x + run].iter().map(Cell::symbol).collect();
            let (left, top) = (x as f32 * CELL.0, y as f32 * CELL.1);
            let length = run as f32 * CELL.0;
            if let Color::Rgb(r, g, b) = row[x].bg {
                let _ = writeln!(
                    out,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"18\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>"
                );
            }
            if !text.trim().is_empty() {
                let colour = match row[x].fg {
                    Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
                    _ => "#d5d8df".to_owned(),
                };
                let weight =
                    if row[x].modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}");
                let _ = writeln!(
                    out,
                    "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{colour}\"{weight} textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\">{text}</text>",
                    top + 13.5
                );
            }
            x += run;
        }
    }
    out + "</g>\n</svg>\n"
}
