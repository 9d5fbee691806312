//! State of the screen and the one function that changes it, [`App::update`]. Apart from reading
//! the log, the clocks and the engine's state, the function is pure: work outside the screen is
//! returned as [`Effect`]s.

mod events;
mod mode;
mod react;

pub use self::events::{AppEvent, Effect, NextScreen, Purpose};
pub use self::mode::Mode;

use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind};
use ratatui::layout::Rect;
use tokio::sync::watch;

use crate::clients;
use crate::clock::{Clock, Stamp};
use crate::engine::{Command, Engine, RunningEngine};
use crate::log::record::{Level, Seq, SessionId};
use crate::log::world::World;
use crate::log::{Log, Tail};
use crate::tape::Status;
use crate::tui::chord::Chord;
use crate::tui::command::Pane;
use crate::tui::composer::Composer;
use crate::tui::detail::Detail;
use crate::tui::diff::Diff;
use crate::tui::doctor::Doctor;
use crate::tui::frames::FrameList;
use crate::tui::hold::Hold;
use crate::tui::keymap::{Keymap, Resolved};
use crate::tui::logs::Logs;
use crate::tui::overlay::{Overlay, Prompt, Review, Wants};
use crate::tui::render::{RenderJob, Slot, View};
use crate::tui::scrub::Scrub;
use crate::tui::sessions::Sessions;
use crate::tui::theme::Theme;

/// Appearance of the screen, as the user chose it.
#[derive(Debug, Clone)]
pub struct Appearance {
    /// Styles of all roles.
    pub theme: Theme,
    /// `true` if only ASCII characters are drawn.
    pub ascii: bool,
    /// `true` if themes may use colours.
    pub colour: bool,
    /// Directory of the user's own themes.
    pub themes: Option<PathBuf>,
    /// Reason why the requested theme is not used.
    pub complaint: Option<String>,
    /// Text shown while there is no session.
    pub waiting: Option<String>,
}

/// Areas of the screen as drawn last, in cells. Mouse events and scrolling refer to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    /// Tab bar.
    pub tabs: Rect,
    /// Rows of the list, without its border and header.
    pub list: Rect,
    /// Rows of the detail pane, or of the pane in its place, without its border.
    pub detail: Rect,
}

/// State of the terminal user interface.
pub struct App {
    /// Handle of the engine that is shown.
    pub engine: Engine,
    /// Fold of the records that were read so far.
    pub world: World,
    tail: Tail,
    /// State of the recording.
    pub recording: watch::Receiver<Status>,
    /// Appearance of the screen.
    pub appearance: Appearance,
    /// Screen that is shown.
    pub screen: Pane,
    /// Screen that was shown before help was opened.
    pub before_help: Pane,
    /// `true` if the detail pane has the keyboard focus.
    pub in_detail: bool,
    /// `true` if one pane takes the whole screen.
    pub zoomed: bool,
    pub(super) frames: FrameList,
    pub(super) detail: Detail,
    pub(super) hold: Hold,
    pub(super) composer: Composer,
    pub(super) reply: Detail,
    pub(super) logs: Logs,
    pub(super) scrub: Scrub,
    pub(super) diff: Diff,
    pub(super) doctor: Doctor,
    pub(super) sessions: Sessions,
    /// Subject of the screen.
    pub mode: Mode,
    /// Screen that the user chose to see after this one.
    pub leads_to: Option<NextScreen>,
    /// `true` if another screen follows when the user leaves this one.
    pub returns_home: bool,
    /// Servers of MCP clients that can be wrapped or unwrapped.
    pub(super) servers: Vec<(clients::ConfigFile, clients::ServerEntry)>,
    /// Clock of the screen itself. For a recording it is not the clock of the frames.
    clock: Clock,
    pub(super) help_top: usize,
    pub(super) overlay: Option<Overlay>,
    pub(super) keymap: Keymap,
    /// Message in the footer, its level, and the time since which it is shown.
    pub toast: Option<(String, Level, Stamp)>,
    /// Areas as drawn last.
    pub areas: Areas,
    /// Width and height of the terminal, in cells.
    pub size: (u16, u16),
    /// `true` if held frames are to be dropped at the end rather than released.
    pub drops_held: bool,
    /// `true` if held frames are to be released at the end, whatever the patience of their
    /// breakpoints.
    pub releases_held: bool,
    /// Time at which the screen was opened. Older warnings are not announced.
    pub(super) opened: Stamp,
    /// `true` after Ctrl-c was pressed once.
    pub(super) leaving: bool,
    /// Session whose end was announced last.
    pub(super) end_announced: Option<SessionId>,
    /// Number of notes that were searched for warnings.
    warned: usize,
    /// Frame whose question was opened automatically last.
    pub(super) offered_ask: Option<Seq>,
    effects: Vec<Effect>,
    changed: bool,
}

impl App {
    /// Creates a screen for one running engine. `size` is the width and height of the terminal, in
    /// cells.
    pub fn new(
        engine: Engine,
        recording: watch::Receiver<Status>,
        appearance: Appearance,
        size: (u16, u16),
    ) -> Self {
        let tail = engine.log().tail(1);
        let clock = engine.log().clock().clone();
        let opened = clock.now();
        let toast = appearance.complaint.clone().map(|text| (text, Level::Warning, opened));
        Self {
            engine,
            world: World::default(),
            tail,
            recording,
            appearance,
            screen: Pane::Frames,
            before_help: Pane::Frames,
            in_detail: false,
            zoomed: false,
            frames: FrameList::new(),
            detail: Detail::new(Slot::Detail, View::Tree),
            hold: Hold::default(),
            composer: Composer::default(),
            reply: Detail::new(Slot::Reply, View::Pretty),
            logs: Logs::default(),
            scrub: Scrub::new(clock.clone()),
            diff: Diff::default(),
            doctor: Doctor::default(),
            sessions: Sessions::default(),
            mode: Mode::Engine,
            leads_to: None,
            returns_home: false,
            servers: Vec::new(),
            clock,
            help_top: 0,
            overlay: None,
            keymap: Keymap::default(),
            toast,
            areas: Areas::default(),
            size,
            drops_held: false,
            releases_held: false,
            opened,
            leaving: false,
            end_announced: None,
            warned: 0,
            offered_ask: None,
            effects: Vec::new(),
            changed: true,
        }
    }

    /// Creates a screen for all `running` engines, which opens on the Sessions screen. `is_remote`
    /// tells that they run on another machine.
    pub fn at_home(
        engine: Engine,
        recording: watch::Receiver<Status>,
        running: watch::Receiver<Vec<RunningEngine>>,
        appearance: Appearance,
        size: (u16, u16),
        is_remote: bool,
    ) -> Self {
        let mut app = Self::new(engine, recording, appearance, size);
        app.mode = Mode::Home { running, is_remote };
        app.show_sessions();
        app
    }

    /// Creates a screen for a finished recording that is folded into `world` already. `clock` is
    /// the clock of the screen, not that of the frames.
    pub fn on_tape(
        engine: Engine,
        world: World,
        recording: watch::Receiver<Status>,
        appearance: Appearance,
        size: (u16, u16),
        clock: Clock,
    ) -> Self {
        let tail = engine.log().tail(world.last + 1);
        let mut app = Self::new(engine, recording, appearance, size);
        app.scrub = Scrub::new(clock.clone());
        app.toast = app.appearance.complaint.clone().map(|text| (text, Level::Warning, clock.now()));
        (app.warned, app.end_announced) = (world.notes.len(), world.sessions.keys().next_back().copied());
        (app.tail, app.world, app.mode, app.clock) = (tail, world, Mode::Tape, clock);
        app.screen = Pane::Tape;
        // A recording is read from its beginning.
        app.frames.follow = false;
        app
    }

    /// Applies an input and returns the effects to be carried out.
    pub fn update(&mut self, input: AppEvent) -> Vec<Effect> {
        self.changed = true;
        match input {
            AppEvent::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            AppEvent::Key(_) => self.changed = false,
            AppEvent::Mouse(mouse) => self.mouse(mouse),
            AppEvent::Paste(text) => self.paste(&text),
            AppEvent::Resize(width, height) => self.size = (width, height),
            AppEvent::Records => self.records(),
            AppEvent::Tick => self.tick(),
            AppEvent::Replied(purpose, reply) => self.replied(purpose, reply),
            AppEvent::Rendered(rendered) => match rendered.slot {
                Slot::Detail => self.detail.set_rendered(rendered),
                Slot::Held => self.hold.detail.set_rendered(rendered),
                Slot::Reply => self.reply.set_rendered(rendered),
            },
            AppEvent::Edited(text) => self.edited(text),
            AppEvent::Compared(Ok(report)) => self.diff.set_report(*report),
            AppEvent::Compared(Err(why)) => {
                self.diff.working = false;
                self.diff.asked = self.diff.before.take();
                self.say(Level::Warning, why);
            }
            AppEvent::Tapes(tapes) => self.sessions.set_recordings(tapes),
            AppEvent::Servers(servers) => self.choose_server(servers),
            AppEvent::Planned(Ok(change)) => {
                let lines = change.lines();
                self.overlay = Some(Overlay::Review(Box::new(Review { change, lines, top: 0 })));
            }
            AppEvent::Changed(Ok(what)) => self.say(Level::Info, what),
            AppEvent::Planned(Err(why)) | AppEvent::Changed(Err(why)) => self.say(Level::Warning, why),
            AppEvent::Terminated => self.effects.push(Effect::Quit),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// Returns `true` if anything has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Returns the log of the engine.
    pub fn log(&self) -> &std::sync::Arc<Log> {
        self.engine.log()
    }

    /// Returns the current time of the log's clock.
    pub fn now(&self) -> Stamp {
        self.log().clock().now()
    }

    /// Returns the number by which a frame is known: the one that it has where it was recorded.
    pub fn number(&self, seq: Seq) -> String {
        match self.engine.numbers().map(|numbers| numbers.there(seq)) {
            Some(Some((Some(place), there))) => format!("{}#{there}", super::text::clean(&place)),
            Some(Some((None, there))) => format!("#{there}"),
            // The frame was recorded by this process.
            Some(None) => "(local)".to_owned(),
            None => format!("#{seq}"),
        }
    }

    /// Returns the frame with a number as [`App::number`] writes it.
    pub fn numbered(&self, text: &str) -> Option<Seq> {
        let (place, number) = text.rsplit_once('#').unwrap_or(("", text));
        let (place, number) = (place.trim(), number.trim().parse().ok()?);
        match self.engine.numbers() {
            Some(numbers) => numbers.here(Some(place).filter(|place| !place.is_empty()), number),
            None => Some(number),
        }
    }

    /// Returns the time that is shown: the present while a live list follows, otherwise that of the
    /// playhead.
    pub fn playhead(&self) -> Stamp {
        match self.frames.follow && self.is_live() {
            true => self.now(),
            false => self.scrub.time(&self.world, self.frames.position()),
        }
    }

    /// Returns `true` if the list stays at the newest frame.
    pub fn frames_follow(&self) -> bool {
        self.frames.follow
    }

    /// Returns the delay between an event and its display: the delay of this screen or of the
    /// running engines, whichever is larger.
    pub fn lag(&self) -> Duration {
        let here = match self.tail.behind() {
            0 => Duration::ZERO,
            _ => self.now().since(self.world.now),
        };
        here.max(self.mode.lag())
    }

    /// Returns the number of records in the log that are not folded in yet.
    pub fn behind(&self) -> u64 {
        self.tail.behind()
    }

    /// Returns `true` if the list is incomplete because rows are still being matched.
    pub fn is_scanning(&self) -> bool {
        self.frames.is_scanning(&self.world)
    }

    /// Returns the time until the screen changes without input, because of a timer of a held or
    /// pending frame, or because a recording plays. Returns `None` if nothing of the kind is due.
    pub fn wake(&self) -> Option<Duration> {
        /// Interval at which timers are redrawn.
        const TICK: Duration = Duration::from_millis(100);
        let timers = matches!(self.screen, Pane::Sessions | Pane::Doctor) && !self.world.sessions.is_empty()
            || self.toast.is_some()
            || !self.world.held.is_empty()
            || self.world.is_waiting();
        /// Interval at which running engines and recordings are looked for.
        const POLL_INTERVAL: Duration = Duration::from_secs(1);
        if self.mode.is_home() && !timers && self.screen == Pane::Sessions {
            return Some(POLL_INTERVAL);
        }
        match self.scrub.player.is_playing() {
            true => Some(self.scrub.wait(&self.world).unwrap_or(Duration::ZERO).min(TICK)),
            false => (timers && !(self.mode.is_tape() && self.toast.is_none())).then_some(TICK),
        }
    }

    /// Returns the pane whose key bindings apply.
    pub fn active_pane(&self) -> Pane {
        match self.screen {
            Pane::Frames | Pane::Tape if self.in_detail => Pane::Detail,
            screen => screen,
        }
    }

    /// Returns `true` if keys are typed into a text editor of this screen.
    pub fn is_inserting(&self) -> bool {
        match self.screen {
            Pane::Intercept => self.hold.editing.as_ref().is_some_and(|editing| editing.inserting),
            Pane::Compose => {
                use crate::tui::composer::{Draft, Focus};
                self.composer.focus == Focus::Draft
                    && matches!(
                        self.composer.draft,
                        Some(Draft::Message { .. } | Draft::Call { as_json: true, .. })
                    )
            }
            _ => false,
        }
    }

    /// Returns the session that new messages go to: on the Sessions screen the one under the
    /// cursor, else that of the selected frame if it is open, else the newest open one.
    pub fn session(&self) -> Option<SessionId> {
        if self.screen == Pane::Sessions
            && let Some(session) = self.sessions.session(&self.world)
        {
            return Some(session);
        }
        let selected = self.frames.selected().and_then(|seq| self.world.row(seq)).map(|row| row.session);
        let open =
            |id: &SessionId| self.world.sessions.get(id).is_some_and(|session| session.closed.is_none());
        let newest =
            || self.world.sessions.values().rev().find(|session| session.closed.is_none()).map(|s| s.id);
        selected.filter(open).or_else(newest).or(selected)
    }

    /// Returns the frame under the cursor of the list.
    pub fn frames_selected(&self) -> Option<Seq> {
        self.frames.selected()
    }

    /// Returns the frame under the cursor, or the last one there if the filter hides all frames.
    pub fn frame_in_view(&self) -> Option<Seq> {
        self.frames.position()
    }

    /// Returns the frame on line `at` of the list.
    pub fn frame_at(&self, at: usize) -> Option<Seq> {
        self.frames.lines.get(at).map(|line| line.seq)
    }

    /// Returns the number of list rows that fit on the screen, at least 1.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas.list.height).max(1)
    }

    /// Returns the number of rows of the detail pane that fit on the screen, at least 1.
    pub fn detail_height(&self) -> usize {
        usize::from(self.areas.detail.height).max(1)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn render(&mut self, job: Option<RenderJob>) {
        self.effects.extend(job.map(Effect::Render));
    }

    pub(super) fn send(&mut self, command: Command, purpose: Purpose) {
        self.effects.push(Effect::Send(command, purpose));
    }

    /// Opens the prompt for `open_next` again, after the screen that it names could not be shown.
    pub fn ask_again(&mut self, next: &NextScreen) {
        match next {
            NextScreen::Launch(words) => {
                let text = shell_words::join(words);
                self.overlay = Some(Overlay::Prompt(Prompt::new(Wants::Launch, &text)));
            }
            NextScreen::Recording(name) if !name.contains('/') => {
                self.overlay = Some(Overlay::Prompt(Prompt::new(Wants::Recording, name)));
            }
            NextScreen::Recording(_) | NextScreen::Demo => {}
        }
    }

    /// Shows a message in the footer for a few seconds.
    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        // Elsewhere, an error and its hint are separate lines: join them into one.
        let text = text.into();
        let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        self.toast = Some((parts.join(" · "), level, self.clock.now()));
    }

    fn key(&mut self, key: KeyEvent) {
        if self.text_key(key) {
            return;
        }
        let place = self.active_pane();
        match self.keymap.press(place, Chord::from(key)) {
            Resolved::Command(command) => self.run(command),
            Resolved::Pending | Resolved::Nothing => {}
        }
    }
}
