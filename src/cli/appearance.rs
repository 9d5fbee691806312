//! Command-line options for the appearance of the screen.

use std::path::PathBuf;

use clap::Args;

use super::config;
use super::failure::Failure;
use super::output::Color;
use crate::tui::{Appearance, Theme};

/// Options for the appearance of the screen.
#[derive(Debug, Args)]
pub struct AppearanceArguments {
    /// Theme: dark, light, high-contrast, 16-colour, or a file of yours in the themes directory.
    #[arg(long, default_value = "dark", env = "SHADOWCAT_THEME")]
    theme: String,
    /// Use plain characters only.
    #[arg(long)]
    ascii: bool,
}

impl AppearanceArguments {
    /// Returns the chosen appearance. If the user's own theme is broken, the dark theme replaces it,
    /// and the appearance carries the complaint.
    ///
    /// # Errors
    /// Fails if no theme has the given name.
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

/// Returns the directory of the user's own themes, or `None` if the user has no home directory.
fn themes_directory() -> Option<PathBuf> {
    Some(config::directory()?.join("themes"))
}
