//! The state of the screen, and the one way in which it changes: [`App::update`], which is pure
//! but for reading the log. What has to happen outside comes out as [`Effect`]s.

mod events;
mod react;

pub use self::events::{Effect, Input, NextScreen, Purpose};

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
use crate::tui::frames::Frames;
use crate::tui::hold::Hold;
use crate::tui::keymap::{Keymap, Resolved};
use crate::tui::logs::Logs;
use crate::tui::overlay::{Overlay, Prompt, Review, Wants};
use crate::tui::render::{Job, Slot, View};
use crate::tui::scrub::Scrub;
use crate::tui::sessions::Sessions;
use crate::tui::theme::Theme;

/// How the screen looks, chosen by the person.
#[derive(Debug, Clone)]
pub struct Appearance {
    pub theme: Theme,
    pub ascii: bool,
    pub colour: bool,
    /// Where themes of the person's own are.
    pub themes: Option<PathBuf>,
    /// Why the theme that was asked for is not used.
    pub complaint: Option<String>,
    /// What to do while there is nothing to look at.
    pub waiting: Option<String>,
}

/// Where things were drawn last, for the mouse and for scrolling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    pub tabs: Rect,
    pub list: Rect,
    pub detail: Rect,
}

/// The state of the screen.
pub struct App {
    pub engine: Engine,
    pub world: World,
    tail: Tail,
    pub recording: watch::Receiver<Status>,
    pub appearance: Appearance,
    pub screen: Pane,
    pub before_help: Pane,
    /// The detail pane has the keys.
    pub in_detail: bool,
    pub zoomed: bool,
    pub(super) frames: Frames,
    pub(super) detail: Detail,
    pub(super) hold: Hold,
    pub(super) composer: Composer,
    pub(super) reply: Detail,
    pub(super) logs: Logs,
    pub(super) scrub: Scrub,
    pub(super) diff: Diff,
    pub(super) doctor: Doctor,
    pub(super) sessions: Sessions,
    /// It looks at whatever runs, rather than at one engine.
    home: bool,
    /// What runs does so on another machine, as do its recordings and clients.
    pub(super) is_remote: bool,
    /// What was chosen to be looked at next.
    pub leads_to: Option<NextScreen>,
    /// Leaving this screen leads to another one.
    pub returns_home: bool,
    /// What runs, where the screen looks at whatever does.
    pub(super) running: watch::Receiver<Vec<RunningEngine>>,
    /// The servers of clients that can be wrapped.
    pub(super) servers: Vec<(clients::ConfigFile, clients::Entry)>,
    /// A finished recording, where nothing runs.
    tape: bool,
    /// The time of the screen itself: of a recording it is not that of its frames.
    clock: Clock,
    pub(super) help_top: usize,
    pub(super) overlay: Option<Overlay>,
    pub(super) keymap: Keymap,
    pub toast: Option<(String, Level, Stamp)>,
    pub areas: Areas,
    pub size: (u16, u16),
    /// What is held is to be dropped at the end, not released.
    pub drops_held: bool,
    /// What is held is to go on at the end, however patient its breakpoint is.
    pub releases_held: bool,
    /// When this screen was opened: what is older is no news.
    pub(super) opened: Stamp,
    /// Ctrl-c was pressed once.
    pub(super) leaving: bool,
    /// The session whose server's end was announced last.
    pub(super) mourned: Option<SessionId>,
    /// Notes that were looked at for warnings.
    warned: usize,
    /// The question that was opened by itself.
    pub(super) offered_ask: Option<Seq>,
    effects: Vec<Effect>,
    changed: bool,
}

impl App {
    /// A screen on a running engine.
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
            frames: Frames::new(),
            detail: Detail::new(Slot::Detail, View::Tree),
            hold: Hold::default(),
            composer: Composer::default(),
            reply: Detail::new(Slot::Reply, View::Pretty),
            logs: Logs::default(),
            scrub: Scrub::new(clock.clone()),
            diff: Diff::default(),
            doctor: Doctor::default(),
            sessions: Sessions::default(),
            home: false,
            is_remote: false,
            leads_to: None,
            returns_home: false,
            running: watch::channel(Vec::new()).1,
            servers: Vec::new(),
            tape: false,
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
            mourned: None,
            warned: 0,
            offered_ask: None,
            effects: Vec::new(),
            changed: true,
        }
    }

    /// A screen on whatever runs.
    pub fn at_home(
        engine: Engine,
        recording: watch::Receiver<Status>,
        running: watch::Receiver<Vec<RunningEngine>>,
        appearance: Appearance,
        size: (u16, u16),
        is_remote: bool,
    ) -> Self {
        let mut app = Self::new(engine, recording, appearance, size);
        (app.home, app.running, app.is_remote) = (true, running, is_remote);
        app.show_sessions();
        app
    }

    /// A screen on a finished recording, of which `world` is known already; `clock` is that of the
    /// screen.
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
        (app.warned, app.mourned) = (world.notes.len(), world.sessions.keys().next_back().copied());
        (app.tail, app.world, app.tape, app.clock) = (tail, world, true, clock);
        app.screen = Pane::Tape;
        // One looks at a recording from its beginning.
        app.frames.follow = false;
        app
    }

    /// Takes in what happened and returns what is to be done.
    pub fn update(&mut self, input: Input) -> Vec<Effect> {
        self.changed = true;
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Input::Key(_) => self.changed = false,
            Input::Mouse(mouse) => self.mouse(mouse),
            Input::Paste(text) => self.paste(&text),
            Input::Resize(width, height) => self.size = (width, height),
            Input::Records => self.records(),
            Input::Tick => self.tick(),
            Input::Replied(purpose, reply) => self.replied(purpose, reply),
            Input::Rendered(rendered) => match rendered.slot {
                Slot::Detail => self.detail.set_rendered(rendered),
                Slot::Held => self.hold.detail.set_rendered(rendered),
                Slot::Reply => self.reply.set_rendered(rendered),
            },
            Input::Edited(text) => self.edited(text),
            Input::Compared(Ok(report)) => self.diff.set_report(*report),
            Input::Compared(Err(why)) => {
                self.diff.working = false;
                self.diff.asked = self.diff.before.take();
                self.say(Level::Warning, why);
            }
            Input::Tapes(tapes) => self.sessions.set_recordings(tapes),
            Input::Servers(servers) => self.choose_server(servers),
            Input::Planned(Ok(change)) => {
                let lines = change.lines();
                self.overlay = Some(Overlay::Review(Box::new(Review { change, lines, top: 0 })));
            }
            Input::Changed(Ok(what)) => self.say(Level::Info, what),
            Input::Planned(Err(why)) | Input::Changed(Err(why)) => self.say(Level::Warning, why),
            Input::Terminated => self.effects.push(Effect::Quit),
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// Whether anything changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn log(&self) -> &std::sync::Arc<Log> {
        self.engine.log()
    }

    pub fn now(&self) -> Stamp {
        self.log().clock().now()
    }

    /// What a frame is called: by the number that it has where it was recorded.
    pub fn number(&self, seq: Seq) -> String {
        match self.engine.numbers().map(|numbers| numbers.there(seq)) {
            Some(Some((Some(place), there))) => format!("{}#{there}", super::text::clean(&place)),
            Some(Some((None, there))) => format!("#{there}"),
            // It was said here.
            Some(None) => "(here)".to_owned(),
            None => format!("#{seq}"),
        }
    }

    /// The frame that is called so.
    pub fn numbered(&self, text: &str) -> Option<Seq> {
        let (place, number) = text.rsplit_once('#').unwrap_or(("", text));
        let (place, number) = (place.trim(), number.trim().parse().ok()?);
        match self.engine.numbers() {
            Some(numbers) => numbers.here(Some(place).filter(|place| !place.is_empty()), number),
            None => Some(number),
        }
    }

    /// Whether it looks at whatever runs.
    pub fn is_home(&self) -> bool {
        self.home
    }

    /// Whether this is a finished recording, where nothing runs.
    pub fn is_tape(&self) -> bool {
        self.tape
    }

    /// The time that is looked at.
    pub fn playhead(&self) -> Stamp {
        match self.frames.follow && self.is_live() {
            true => self.now(),
            false => self.scrub.time(&self.world, self.frames.position()),
        }
    }

    /// Whether the list stays at the newest frame.
    pub fn frames_follow(&self) -> bool {
        self.frames.follow
    }

    /// How long what is shown is behind what happens, here or where it happens.
    pub fn lag(&self) -> Duration {
        let there = self.running.borrow().iter().map(|running| running.behind).max().unwrap_or_default();
        let here = match self.tail.behind() {
            0 => Duration::ZERO,
            _ => self.now().since(self.world.now),
        };
        here.max(there)
    }

    /// How many records the view is behind the log.
    pub fn behind(&self) -> u64 {
        self.tail.behind()
    }

    /// Whether the list is still being made.
    pub fn is_scanning(&self) -> bool {
        self.frames.is_scanning(&self.world)
    }

    /// How long until something on the screen moves by itself: a timer of something held or
    /// pending, or a recording that plays.
    pub fn wake(&self) -> Option<Duration> {
        /// How often timers move.
        const TICK: Duration = Duration::from_millis(100);
        let timers = matches!(self.screen, Pane::Sessions | Pane::Doctor) && !self.world.sessions.is_empty()
            || self.toast.is_some()
            || !self.world.held.is_empty()
            || self.world.is_waiting();
        /// How often it is looked for what runs and was recorded.
        const POLL_INTERVAL: Duration = Duration::from_secs(1);
        if self.home && !timers && self.screen == Pane::Sessions {
            return Some(POLL_INTERVAL);
        }
        match self.scrub.player.is_playing() {
            true => Some(self.scrub.wait(&self.world).unwrap_or(Duration::ZERO).min(TICK)),
            false => (timers && !(self.tape && self.toast.is_none())).then_some(TICK),
        }
    }

    /// The place whose keys apply.
    pub fn active_pane(&self) -> Pane {
        match self.screen {
            Pane::Frames | Pane::Tape if self.in_detail => Pane::Detail,
            screen => screen,
        }
    }

    /// Whether keys are text in an editor of this screen.
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

    /// The session that new messages go to: that of the selected frame, else the newest open one.
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

    /// The frame under the cursor of the list.
    pub fn frames_selected(&self) -> Option<Seq> {
        self.frames.selected()
    }

    /// The frame that is looked at, also when the filter hides everything.
    pub fn frame_in_view(&self) -> Option<Seq> {
        self.frames.position()
    }

    /// The frame on line `at` of the list.
    pub fn frame_at(&self, at: usize) -> Option<Seq> {
        self.frames.lines.get(at).map(|line| line.seq)
    }

    /// Rows of the list that fit on the screen.
    pub fn list_height(&self) -> usize {
        usize::from(self.areas.list.height).max(1)
    }

    /// Rows of the detail pane that fit on the screen.
    pub fn detail_height(&self) -> usize {
        usize::from(self.areas.detail.height).max(1)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn render(&mut self, job: Option<Job>) {
        self.effects.extend(job.map(Effect::Render));
    }

    pub(super) fn send(&mut self, command: Command, purpose: Purpose) {
        self.effects.push(Effect::Send(command, purpose));
    }

    /// Opens the prompt again for what could not be led to.
    pub fn ask_again(&mut self, lead: &NextScreen) {
        match lead {
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

    /// Says something in one line, for a while.
    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        // An error and its hint are lines of their own elsewhere.
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
