//! How screens look.

use std::path::PathBuf;

use clap::Args;

use super::config;
use super::failure::Failure;
use super::output::Color;
use crate::tui::{Appearance, Theme};

/// How the screen looks.
#[derive(Debug, Args)]
pub struct AppearanceArguments {
    /// A theme: dark, light, high-contrast, 16-colour, or a file of yours in the themes directory.
    #[arg(long, default_value = "dark", env = "SHADOWCAT_THEME")]
    theme: String,
    /// Plain characters only.
    #[arg(long)]
    ascii: bool,
}

impl AppearanceArguments {
    /// The appearance that was asked for. A broken theme of the person's own is named, and replaced.
    pub fn resolve(&self, color: Color) -> Result<Appearance, Failure> {
        let themes = themes_directory();
        let colour = color.is_on();
        let mut complaint = None;
        let theme = match Theme::find(&self.theme, themes.as_deref()) {
            Ok(theme) => theme,
            Err(error @ crate::tui::theme::ThemeError::Unknown { .. }) => return Err(Failure::usage(error)),
            Err(error) => {
                complaint = Some(format!("{error}; the dark theme is used instead"));
                Theme::dark()
            }
        };
        let theme = if colour { theme } else { theme.without_colour() };
        Ok(Appearance { theme, ascii: self.ascii, colour, themes, complaint, waiting: None })
    }
}

/// Where themes of the person's own are.
fn themes_directory() -> Option<PathBuf> {
    Some(config::directory()?.join("themes"))
}
