//! Terminal user interface. Its state is a fold of the log; it knows an engine only by its handle,
//! [`Engine`](crate::engine::Engine).

mod act;
pub mod app;
mod ask;
mod background;
mod chord;
pub mod command;
mod composer;
mod detail;
pub mod diff;
mod doctor;
mod form;
mod frames;
mod hold;
mod keymap;
mod keys;
mod logs;
mod overlay;
mod prompts;
pub mod render;
pub mod run;
mod scrub;
mod sessions;
pub mod terminal;
mod text;
pub mod theme;
pub mod view;

pub use app::{App, AppEvent, Appearance, Effect, NextScreen, Purpose};
pub use theme::Theme;
