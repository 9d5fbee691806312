//! Tests of the screens: scripted keys in, a buffer of cells out. The engine, the session and the
//! messages are real; only the terminal is replaced by a buffer.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Style};
use shadowcat::clock::Clock;
use shadowcat::engine::{Engine, Who};
use shadowcat::host::{Host, Settings};
use shadowcat::intercept::Chain;
use shadowcat::log::Log;
use shadowcat::log::record::{LaneId, Opened};
use shadowcat::log::store::DEFAULT_BOUND;
use shadowcat::mcp::Direction;
use shadowcat::session::Receipt;
use shadowcat::session::{Lane, Session};
use shadowcat::tape::Status;
use shadowcat::transport::WriterQueue;
use shadowcat::tui::theme::StyleRole;
use shadowcat::tui::{App, AppEvent, Appearance, Effect, Purpose, Theme, render, view};

use crate::support::Sink;

/// Screen under test, with the engine and the session behind it.
struct ScreenHarness {
    app: App,
    clock: Clock,
    session: Arc<Session>,
    ports: [Arc<WriterQueue<Receipt>>; 2],
    there: LaneId,
    back: LaneId,
    server: Sink,
    client: Sink,
    engine: Engine,
    copied: Vec<String>,
    left: bool,
    runtime: tokio::runtime::Runtime,
    _host: Arc<Host>,
}

impl ScreenHarness {
    fn new(width: u16, height: u16, theme: Theme) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Clock::manual(1_700_000_000_000_000);
        let log = Log::new(clock.clone(), DEFAULT_BOUND);
        let (host, engine) = {
            let _inside = runtime.enter();
            let settings = Settings::default();
            let chain = Chain::of_breakpoints(&settings.breakpoints);
            Host::start(log, settings, chain)
        };
        let controller = host.controllers().attach("test");
        let engine = engine.of(Who { controller: Some(controller), ..Who::person() });
        let session = host.open(Opened {
            name: "weather".into(),
            target: vec!["weather-server".into()],
            directory: Some("/tmp".into()),
            pid: None,
            own_client: false,
        });
        let (server, client) = (Sink::default(), Sink::default());
        let ports = [Arc::new(WriterQueue::new(server.clone())), Arc::new(WriterQueue::new(client.clone()))];
        let lane = |direction, forward: usize| {
            session.open_lane(Lane::of_lines(direction, &ports[forward], &ports[1 - forward]))
        };
        let (there, back) = (lane(Direction::ToServer, 0), lane(Direction::ToClient, 1));
        let look =
            Appearance { theme, ascii: false, colour: true, themes: None, complaint: None, waiting: None };
        let recording = tokio::sync::watch::channel(Status::default()).1;
        let app = App::new(engine.clone(), recording, look, (width, height));
        let mut desk = Self {
            app,
            clock,
            session,
            ports,
            there,
            back,
            server,
            client,
            engine,
            copied: Vec::new(),
            left: false,
            runtime,
            _host: host,
        };
        desk.handle(AppEvent::Records);
        desk
    }

    /// Sends a message on the wire.
    fn send(&mut self, direction: Direction, text: &str) {
        let lane = if direction == Direction::ToServer { self.there } else { self.back };
        self.session.receive(lane, format!("{text}\n").into());
        self.flush();
        self.clock.advance(Duration::from_millis(120));
        self.handle(AppEvent::Records);
    }

    fn flush(&self) {
        for port in &self.ports {
            port.flush(&mut |receipt, written| self.session.confirm(receipt, written));
        }
    }

    /// Handles an input and its effects until no effect is left.
    fn handle(&mut self, input: AppEvent) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.app.update(input) {
                match effect {
                    Effect::Send(command, purpose) => {
                        let engine = self.engine.clone();
                        let reply = self.runtime.block_on(async move { engine.send(command).await });
                        self.flush();
                        inputs.push(AppEvent::Records);
                        inputs.push(AppEvent::Replied(purpose, reply));
                    }
                    Effect::Render(job) => inputs.push(AppEvent::Rendered(render::render(&job))),
                    Effect::Copy(text) => self.copied.push(text),
                    Effect::Editor(text) => inputs.push(AppEvent::Edited(Ok(text.replace("Bern", "Basel")))),
                    Effect::Compare(comparison) => {
                        inputs.push(AppEvent::Compared(comparison.run().map(Box::new)));
                    }
                    // The tests must not depend on the tape library and the client configurations
                    // of the machine.
                    Effect::ListTapes | Effect::FindServers | Effect::Plan(..) | Effect::Change(_) => {}
                    Effect::Quit => self.left = true,
                }
            }
        }
        // Scrolling and the mouse use the areas of the last drawing.
        self.draw();
    }

    fn draw(&mut self) -> ratatui::buffer::Buffer {
        let (width, height) = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut areas = self.app.areas;
        terminal.draw(|frame| areas = view::draw(frame, &self.app)).unwrap();
        self.app.areas = areas;
        terminal.backend().buffer().clone()
    }

    /// Presses keys: words such as `Enter` and `Ctrl-s`, or `'text` to be typed.
    fn keys(&mut self, script: &str) -> &mut Self {
        for word in script.split(' ') {
            match word.strip_prefix('\'') {
                Some(text) => text.chars().for_each(|c| self.press(KeyCode::Char(c), KeyModifiers::NONE)),
                None => {
                    let (modifiers, key) = match word.strip_prefix("Ctrl-") {
                        Some(key) => (KeyModifiers::CONTROL, key),
                        None => (KeyModifiers::NONE, word),
                    };
                    let code = match key {
                        "Enter" => KeyCode::Enter,
                        "Esc" => KeyCode::Esc,
                        "Tab" => KeyCode::Tab,
                        "Space" => KeyCode::Char(' '),
                        "Backspace" => KeyCode::Backspace,
                        "Down" => KeyCode::Down,
                        "Up" => KeyCode::Up,
                        "End" => KeyCode::End,
                        key => KeyCode::Char(key.chars().next().unwrap()),
                    };
                    self.press(code, modifiers);
                }
            }
        }
        self
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.handle(AppEvent::Key(KeyEvent::new(code, modifiers)));
    }

    fn screen(&mut self) -> String {
        let buffer = self.draw();
        let width = usize::from(buffer.area.width);
        let rows = buffer.content.chunks(width);
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }

    #[track_caller]
    fn shows(&mut self, text: &str) -> &mut Self {
        let screen = self.screen();
        assert!(screen.contains(text), "no {text:?} on\n{screen}");
        self
    }

    #[track_caller]
    fn hides(&mut self, text: &str) -> &mut Self {
        let screen = self.screen();
        assert!(!screen.contains(text), "{text:?} on\n{screen}");
        self
    }

    /// Returns the screen, and below it the colour role of each cell as one letter.
    fn painted(&mut self) -> String {
        let buffer = self.draw();
        let theme = self.app.appearance.theme.clone();
        let letter = |style: Style| {
            let same = |role: &StyleRole| {
                let candidate = theme.style(*role);
                candidate.fg.unwrap_or(Color::Reset) == style.fg.unwrap_or(Color::Reset)
                    && candidate.bg.unwrap_or(Color::Reset) == style.bg.unwrap_or(Color::Reset)
                    && candidate.add_modifier == style.add_modifier
            };
            let at = StyleRole::ALL.iter().position(same);
            at.map_or('?', |at| char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGH"[at]))
        };
        let width = usize::from(buffer.area.width);
        let paint = |row: &[ratatui::buffer::Cell]| -> String {
            let line: String = row.iter().map(|cell| letter(cell.style())).collect();
            line.trim_end_matches('a').to_owned() + "\n"
        };
        self.screen() + &buffer.content.chunks(width).map(paint).collect::<String>()
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"forecast","arguments":{"city":"Bern","days":[1,2]}}}"#;
const REPLY: &str = r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"sun"}]}}"#;

/// Returns a screen under test that shows a short session.
fn told(width: u16, height: u16, theme: Theme) -> ScreenHarness {
    use Direction::{ToClient, ToServer};
    let mut desk = ScreenHarness::new(width, height, theme);
    desk.send(ToServer, r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"claude","version":"1.9"}}}"#);
    desk.send(ToClient, "Listening on stdio");
    desk.send(ToClient, r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"weather","version":"0.3"}}}"#);
    desk.send(ToServer, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    desk.send(ToServer, CALL);
    desk.send(ToClient, REPLY);
    desk.send(ToServer, r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"alerts"}}"#);
    desk.send(ToClient, r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no such place"}}"#);
    desk.send(ToServer, r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"radar"}}"#);
    desk
}

fn light() -> Theme {
    Theme::find("light", None).unwrap()
}

/// Masks hours and minutes, which depend on the time zone of the machine.
fn timeless(text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for at in 1..characters.len().saturating_sub(5) {
        let digits = |from: usize| characters[from..from + 2].iter().all(char::is_ascii_digit);
        // An overlay may hide everything but the hour.
        let begins = !characters[at - 1].is_alphanumeric() && characters[at - 1] != ':';
        if begins && digits(at) && characters[at + 2] == ':' {
            let minutes = digits(at + 3);
            characters[at..at + 2].fill('h');
            if minutes {
                characters[at + 3..at + 5].fill('m');
            }
        }
    }
    characters.into_iter().collect()
}

macro_rules! snapshots {
    ($($name:ident: $prepare:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let prepare: fn(&mut ScreenHarness) = $prepare;
                for (size, (width, height)) in [("wide", (130, 30)), ("small", (80, 20))] {
                    for (word, theme) in [("dark", Theme::dark()), ("light", light())] {
                        let mut desk = told(width, height, theme);
                        prepare(&mut desk);
                        let name = format!("{}-{size}-{word}", stringify!($name));
                        insta::assert_snapshot!(name, timeless(&desk.painted()));
                    }
                }
            }
        )+
    };
}

snapshots! {
    frames: |_| {};
    operations: |desk| { desk.keys("o"); };
    detail: |desk| { desk.keys("k k k k Enter"); };
    intercept: |desk| {
        desk.keys("Space r b 'tool:forecast Enter");
        let call = CALL.replace("\"id\":2", "\"id\":5");
        desk.send(Direction::ToServer, &call);
        desk.keys("3 e");
    };
    compose: |desk| { desk.keys("k k k k R"); };
    tape: |desk| { desk.keys("5 , , m 'wrong Enter"); };
    sessions: |desk| { desk.keys("1"); };
    doctor: |desk| { desk.keys("0"); };
    diff: |desk| { desk.keys("7"); };
    logs: |desk| { desk.keys("9"); };
    help: |desk| { desk.keys("?"); };
    palette: |desk| { desk.keys("Ctrl-p 'hold"); };
}

#[test]
fn held_call_is_forwarded_as_edited() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Enter").shows("ARMED 1");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    desk.shows("held 1").keys("3").shows("tools/call forecast").keys("E Ctrl-s");
    let sent = String::from_utf8(desk.server.bytes()).unwrap();
    assert!(sent.ends_with("\"city\":\"Basel\",\"days\":[1,2]}}}\n"), "{sent}");
    desk.keys("2").shows("replaced").shows("edited").hides("held 1");
}

#[test]
fn invalid_json_needs_a_second_confirmation_and_then_works() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Enter");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    let before = desk.server.bytes().len();
    desk.keys("3 e '{ Ctrl-s").shows("line 1, column 2").shows("Ctrl-s again");
    assert_eq!(desk.server.bytes().len(), before, "nothing has been sent yet");
    desk.keys("Ctrl-s");
    let sent = desk.server.bytes();
    assert!(sent[before..].starts_with(b"{{"), "{}", String::from_utf8_lossy(&sent[before..]));
    assert_eq!(sent[before..].iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
}

#[test]
fn drop_sends_the_chosen_error_to_the_peer() {
    for (key, expected) in [("2", "\"code\":-32603"), ("3", "\"isError\":true")] {
        let mut desk = told(130, 30, Theme::dark());
        desk.keys("Space r b 'tool:forecast Enter");
        desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
        desk.keys("3 d").shows("what does the sender get?").keys(key);
        let told = desk.client.lines().pop().unwrap();
        assert!(told.contains(expected) && told.contains("\"id\":5"), "{told}");
        assert!(!desk.server.lines().iter().any(|line| line.contains("\"id\":5")));
    }
}

#[test]
fn answer_is_sent_in_place_of_the_server() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Enter");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    desk.keys("3 s").shows("answer to").keys("Ctrl-s");
    assert!(desk.client.lines().pop().unwrap().contains("\"id\":5,\"result\""));
    desk.keys("2").shows("answered").shows("composed");
}

#[test]
fn reply_is_held_when_its_call_is_released_with_w() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Space 'dir:c2s Enter");
    desk.keys("Space r b 'kind:req Space 'tool:forecast Enter");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    desk.keys("3 w");
    desk.send(Direction::ToClient, &REPLY.replace("\"id\":2", "\"id\":5"));
    desk.shows("result tools/call forecast");
    desk.keys("a");
    assert!(desk.client.lines().pop().unwrap().contains("\"id\":5"));
}

#[test]
fn hold_everything_asks_first_and_releases_in_order() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("I").shows("Hold every message?").keys("y").shows("HOLD ALL");
    for id in 10..13 {
        desk.send(Direction::ToServer, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#));
    }
    let ping = r#"{"jsonrpc":"2.0","id":99,"method":"ping"}"#;
    desk.send(Direction::ToServer, ping);
    assert_eq!(desk.server.lines().pop().as_deref(), Some(ping), "the heartbeat is not held");
    desk.shows("held 3").keys("I").hides("held 3");
    let last: Vec<String> = desk.server.lines().into_iter().rev().take(3).collect();
    assert!(last[0].contains("12") && last[1].contains("11") && last[2].contains("10"), "{last:?}");
}

#[test]
fn list_position_stays_while_frames_arrive() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("g g j j");
    let selected = desk.app.frames_selected();
    for id in 100..200 {
        desk.send(Direction::ToServer, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x/{id}"}}"#));
    }
    assert_eq!(desk.app.frames_selected(), selected);
    desk.hides("x/199").keys("G").shows("x/199").shows("follow");
}

#[test]
fn paused_view_does_not_change_while_frames_arrive() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("p");
    desk.send(Direction::ToServer, r#"{"jsonrpc":"2.0","id":50,"method":"later/on"}"#);
    desk.hides("later/on").shows("view paused +1").keys("p").shows("later/on");
}

#[test]
fn filters_narrow_complete_and_report_errors() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("/ 'stauts:x").shows("no field 'stauts'").keys("Esc");
    desk.keys("/ 'tool:fo Tab").shows("tool:forecast").shows("2 match").keys("Enter").shows("2/9 frames");
    desk.hides("alerts").keys("Backspace").shows("alerts");
    desk.keys("!").shows("2/9 frames").shows("error tools/call alerts");
    desk.keys("Backspace / 'method:nothing Enter").shows("0 of 9 match. Backspace removes");
}

#[test]
fn status_filter_follows_status_changes() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("/ 'status:pending Enter").shows("tools/call radar").shows("1/9 frames");
    desk.send(Direction::ToClient, r#"{"jsonrpc":"2.0","id":4,"result":{}}"#);
    desk.shows("0/10 frames");
}

#[test]
fn values_and_paths_are_copied() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("g g j j j j Enter");
    desk.keys("y y");
    assert_eq!(desk.copied.last().map(String::as_str), Some(CALL));
    for _ in 0..20 {
        if desk.screen().contains("city") {
            desk.keys("j");
        }
        desk.keys("y p");
        if desk.copied.last().is_some_and(|path| path == "$.params.arguments.city") {
            break;
        }
    }
    desk.keys("y v");
    assert_eq!(desk.copied.last().map(String::as_str), Some("\"Bern\""));
}

#[test]
fn injected_message_reaches_its_receiver_and_is_marked() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("4 Ctrl-n").shows("message to the server").keys("Ctrl-s");
    assert!(desk.server.lines().pop().unwrap().contains("\"method\":\"tools/list\""));
    desk.keys("Esc Esc 2").shows("injected");
    desk.keys("4 Ctrl-n Ctrl-r").shows("message to the client").keys("Ctrl-s");
    assert!(desk.client.lines().pop().unwrap().contains("notifications/message"));
}

#[test]
fn resent_request_gets_a_new_id_and_its_answer_is_not_forwarded() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("g g j j j j r");
    let sent = desk.server.lines().pop().unwrap();
    let value: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let id = value["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("sc-") && value["params"]["arguments"]["city"] == "Bern", "{sent}");
    let before = desk.client.bytes().len();
    desk.send(Direction::ToClient, &format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{{}}}}"#));
    assert_eq!(desk.client.bytes().len(), before);
}

#[test]
fn quitting_with_held_frames_asks_first() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Enter");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    desk.keys("q").shows("1 message is held").keys("Esc");
    assert!(!desk.left);
    desk.keys("q r");
    assert!(desk.left && !desk.app.drops_held, "the caller of the screen releases the held frames");
}

#[test]
fn second_ctrl_c_quits_despite_held_frames() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space r b 'tool:forecast Enter");
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":5"));
    desk.keys("Ctrl-c").shows("1 message is held");
    assert!(!desk.left);
    desk.keys("Ctrl-c");
    assert!(desk.left);
}

#[test]
fn too_small_screen_shows_the_required_size() {
    let mut desk = told(60, 15, Theme::dark());
    desk.shows("tools/call").shows("2 Frames");
    desk.handle(AppEvent::Resize(59, 15));
    desk.shows("needs 60x15").shows("this is 59x15").hides("tools/call");
    for (width, height) in [(1, 1), (10, 2), (60, 14), (200, 3)] {
        desk.handle(AppEvent::Resize(width, height));
    }
    desk.handle(AppEvent::Resize(60, 15));
    desk.shows("tools/call");
}

#[test]
fn every_command_runs_on_every_screen_of_every_size() {
    use shadowcat::tui::command::Cmd;
    for (width, height) in [(60, 15), (130, 30)] {
        for screen in ["1", "2", "3", "4", "9", "0", "?"] {
            for command in Cmd::ALL {
                let mut desk = told(width, height, Theme::dark());
                desk.keys(screen);
                desk.app.run(*command);
                desk.handle(AppEvent::Tick);
            }
        }
    }
}

#[test]
fn ascii_mode_draws_only_ascii() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("Space v a");
    for screen in ["1", "2", "3", "4", "9", "0"] {
        let screen = desk.keys(screen).screen();
        assert!(screen.is_ascii(), "{screen}");
    }
}

#[test]
fn the_mouse_selects_and_scrolls() {
    let mut desk = told(130, 30, Theme::dark());
    let click = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        AppEvent::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
    };
    desk.handle(click(5, 7));
    assert_eq!(desk.app.frames_selected(), desk.app.frame_at(2));
    desk.handle(click(27, 1));
    desk.shows("No frame is held");
}

#[test]
fn server_output_cannot_inject_terminal_escapes() {
    let mut desk = told(130, 30, Theme::dark());
    desk.send(Direction::ToClient, "\u{1b}[2J\u{1b}]52;c;AAAA\u{7} \u{202e}evil");
    desk.send(
        Direction::ToClient,
        "{\"jsonrpc\":\"2.0\",\"method\":\"x\\u001b[2J\",\"params\":{\"k\\u001b\":\"\\u202e\"}}",
    );
    for keys in ["g g", "G", "Enter", "v", "v", "v", "Esc 9"] {
        let buffer = desk.keys(keys).draw();
        for cell in &buffer.content {
            assert!(!cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", cell.symbol());
        }
    }
}

#[test]
fn refused_command_shows_its_reason() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("3 a").shows("no frame is held");
    let refused = Err(shadowcat::engine::Refusal("because".into()));
    desk.handle(AppEvent::Replied(Purpose::Quiet, refused));
    desk.shows("because");
}

#[test]
fn live_session_is_rewound_bookmarked_and_resumed() {
    let mut desk = told(150, 40, Theme::dark());
    desk.keys("5").shows("live edge").shows("As of #").shows("2025-11-25");
    desk.keys(", , ,").shows("G returns to the live edge");
    let selected = desk.app.frames_selected().unwrap();
    desk.keys("m 'auth Enter").shows("a▲ auth").shows("bookmark a on");
    desk.send(Direction::ToServer, r#"{"jsonrpc":"2.0","id":900,"method":"later/frame"}"#);
    assert_eq!(
        desk.app.frames_selected(),
        Some(selected),
        "while scrubbed back, new frames arrive and the selection stays"
    );
    desk.keys("; 'look Enter").shows("look");
    desk.keys("G").shows("live edge").shows("later/frame").shows("In flight 2");
    desk.press(KeyCode::Char('\''), KeyModifiers::NONE);
    desk.keys("'a Enter");
    assert_eq!(desk.app.frames_selected(), Some(selected));
    desk.keys("G {");
    assert_eq!(desk.app.frames_selected(), Some(selected));
    let told = desk.app.log().window(1, usize::MAX);
    let marks = told
        .iter()
        .filter(|record| matches!(&record.body, shadowcat::log::Body::Note(note) if note.mark == Some('a')));
    assert_eq!(marks.count(), 1, "a bookmark is a record of the session");
}

#[test]
fn playback_follows_the_chosen_speed() {
    let mut desk = told(150, 40, Theme::dark());
    desk.keys("5 g g").shows("frame 1/");
    let rows: Vec<_> = desk.app.world.rows.iter().map(|row| (row.seq, row.at)).collect();
    desk.keys("p").shows("▶ 1x");
    let wait = desk.app.wake().unwrap();
    assert!(wait <= rows[1].1.since(rows[0].1));
    // Playback reaches the third frame exactly at its time, not before.
    let until = rows[2].1.since(rows[0].1);
    desk.clock.advance(until - Duration::from_nanos(1));
    desk.handle(AppEvent::Tick);
    assert_eq!(desk.app.frames_selected(), Some(rows[1].0));
    desk.clock.advance(Duration::from_nanos(1));
    desk.handle(AppEvent::Tick);
    assert_eq!(desk.app.frames_selected(), Some(rows[2].0));
    desk.keys("> > >").shows("10x").keys("p").shows("‖ 10x");
    desk.clock.advance(Duration::from_secs(9));
    desk.handle(AppEvent::Tick);
    assert_eq!(desk.app.frames_selected(), Some(rows[2].0), "paused playback stays at its frame");
    desk.keys("p");
    desk.clock.advance((rows[3].1.since(rows[2].1)) / 10 + Duration::from_nanos(1));
    desk.handle(AppEvent::Tick);
    assert_eq!(desk.app.frames_selected(), Some(rows[3].0));
    desk.clock.advance(Duration::from_secs(60));
    desk.handle(AppEvent::Tick);
    desk.shows("live edge");
}

#[test]
fn seek_prompt_accepts_human_time_formats() {
    let mut desk = told(150, 40, Theme::dark());
    desk.keys("5 g 0").shows("frame 1/");
    let last = desk.app.world.rows.len();
    desk.keys("g t '100% Enter").shows(&format!("frame {last}/{last}"));
    desk.keys("g t '-1h Enter").shows("frame 1/").keys("g t '+1h Enter").shows(&format!("frame {last}/"));
    desk.keys("g t 'soon Enter").shows("is not a time");
    desk.keys(") ) )").shows("8x closer").keys("( ( (").hides("closer)");
    desk.keys("Esc ; 'x Enter g g }").hides("no bookmark");
}

#[test]
fn unfolded_operation_survives_new_frames() {
    let mut desk = told(130, 30, Theme::dark());
    desk.keys("o g g Enter j Enter");
    desk.send(Direction::ToClient, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    desk.keys("o G").shows("Frames");
}

#[test]
fn diff_screen_compares_two_recordings() {
    use shadowcat::tape::TapeWriter;
    use shadowcat::tape::writer::RecordingInfo;
    let directory = tempfile::tempdir().unwrap();
    let mut desk = told(150, 40, Theme::dark());
    let save = |name: &str, log: &Arc<Log>| {
        let path = directory.path().join(name);
        let subject = RecordingInfo { name: name.into(), target: vec![], parent: None };
        TapeWriter::create(&path, subject, log).unwrap().seal().unwrap();
        path
    };
    let before = save("before.tape", desk.app.log());
    desk.send(Direction::ToServer, &CALL.replace("\"id\":2", "\"id\":77"));
    desk.send(Direction::ToClient, r#"{"jsonrpc":"2.0","id":77,"error":{"code":1,"message":"no"}}"#);
    let after = save("after.tape", desk.app.log());
    let status = Status { path: Some(after), ..Status::default() };
    desk.app.recording = tokio::sync::watch::channel(status).1;
    desk.keys("7").shows("choose a recording to compare");
    desk.keys(&format!("= '{} Enter", before.display()));
    desk.shows("before → after").shows("Contract · 0 changes").shows("tools/call forecast new");
    desk.keys("j j Enter").shows("Frames");
    desk.keys("7 = 'nothing-like-it Enter").shows("no tape \"");
}
