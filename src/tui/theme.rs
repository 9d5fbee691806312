//! Themes: files that give a style to each role.
//!
//! A theme is a TOML table `role = "colour"` or `role = { fg = …, bg = …, bold = true }`. Roles
//! that a user's theme leaves out come from `dark`. Colours are names of the sixteen terminal
//! colours, `#rrggbb`, or a number of the 256-colour palette.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use toml::Spanned;

macro_rules! roles {
    ($($role:ident $word:literal),+ $(,)?) => {
        /// Role of a part of the screen, to which a theme gives a style.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum StyleRole {
            $(
                /// Role with the name in theme files that [`StyleRole::word`] returns.
                $role
            ),+
        }

        impl StyleRole {
            /// All roles.
            pub const ALL: &[Self] = &[$(Self::$role),+];

            /// Returns the name in theme files and snapshots.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$role => $word),+ }
            }
        }
    };
}

roles! {
    Text "text",
    Dim "dim",
    Accent "accent",
    Border "border",
    Focus "focus",
    Title "title",
    Selected "selected",
    Header "header",
    Tab "tab",
    TabActive "tab_active",
    Key "key",
    ToServer "to_server",
    ToClient "to_client",
    Notice "notice",
    Ok "ok",
    Warning "warning",
    Error "error",
    Held "held",
    Edited "edited",
    Stderr "stderr",
    Chip "chip",
    Match "match",
    Cursor "cursor",
    JsonKey "json_key",
    JsonString "json_string",
    JsonNumber "json_number",
    JsonLiteral "json_literal",
    JsonPunctuation "json_punctuation",
}

/// Styles of all roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme {
    /// Name of the theme.
    pub name: String,
    styles: BTreeMap<StyleRole, Style>,
}

/// Names and texts of the themes that come with the program.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("high-contrast", include_str!("../../themes/high-contrast.toml")),
    ("16-colour", include_str!("../../themes/16-colour.toml")),
];

/// Reason why a theme cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThemeError {
    /// Mistake in a theme file.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Line of the mistake, counted from 1.
        line: usize,
        /// Column of the mistake, counted from 1.
        column: usize,
        /// Description of the mistake.
        message: String,
    },
    /// Theme file that cannot be read.
    #[error("read {}: {message}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        message: String,
    },
    /// Name that no theme has.
    #[error("there is no theme {name:?}; there are {}", known.join(", "))]
    Unknown {
        /// Name that was asked for.
        name: String,
        /// Names of all themes.
        known: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Colour(String),
    Number(u8),
    Style(Detailed),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detailed {
    fg: Option<String>,
    bg: Option<String>,
    #[serde(default)]
    bold: bool,
    #[serde(default)]
    dim: bool,
    #[serde(default)]
    italic: bool,
    #[serde(default)]
    underline: bool,
    #[serde(default)]
    reverse: bool,
}

impl Theme {
    /// Returns the default theme, which is used when no other can be.
    pub fn dark() -> Self {
        let (name, text) = BUILT_IN[0];
        // A test checks that every built-in theme can be read.
        Self::parse(name, text, Path::new("themes/dark.toml"))
            .unwrap_or_else(|_| Self { name: name.to_owned(), styles: BTreeMap::new() })
    }

    /// Parses a theme. Roles that it leaves out come from `dark`. `path` is for error messages.
    ///
    /// # Errors
    /// Returns the first mistake, with its line and column.
    pub fn parse(name: &str, text: &str, path: &Path) -> Result<Self, ThemeError> {
        let at = |offset: usize, message: String| {
            let (line, column) = crate::mcp::json::line_column(text, offset);
            ThemeError::File { path: path.to_owned(), line, column, message }
        };
        let entries: BTreeMap<Spanned<String>, Spanned<Entry>> = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut styles = match name {
            "dark" => BTreeMap::new(),
            _ => Self::dark().styles,
        };
        for (key, entry) in entries {
            let role = StyleRole::ALL.iter().find(|role| role.word() == key.get_ref());
            let role =
                *role.ok_or_else(|| at(key.span().start, format!("there is no role {:?}", key.get_ref())))?;
            let start = entry.span().start;
            let style = entry.into_inner().style().map_err(|message| at(start, message))?;
            styles.insert(role, style);
        }
        Ok(Self { name: name.to_owned(), styles })
    }

    /// Finds the theme called `name`: a file in `directory`, else one that comes with the program.
    ///
    /// # Errors
    /// Fails if there is no such theme, or its file cannot be read or has a mistake.
    pub fn find(name: &str, directory: Option<&Path>) -> Result<Self, ThemeError> {
        if let Some(path) = directory.map(|directory| directory.join(format!("{name}.toml")))
            && path.exists()
        {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ThemeError::Unreadable { path: path.clone(), message: error.to_string() })?;
            return Self::parse(name, &text, &path);
        }
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text, &PathBuf::from(format!("themes/{name}.toml"))),
            None => Err(ThemeError::Unknown { name: name.to_owned(), known: Self::names(directory) }),
        }
    }

    /// Returns the names of all themes: those of the program, then those in `directory`.
    pub fn names(directory: Option<&Path>) -> Vec<String> {
        let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
        let entries = directory.and_then(|directory| std::fs::read_dir(directory).ok());
        for path in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|ending| ending == "toml")
                && let Some(name) = path.file_stem().map(|name| name.to_string_lossy().into_owned())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// Returns the theme without colours (`NO_COLOR`). Bold, underlined and reversed text replace
    /// the distinctions that colours made.
    #[must_use]
    pub fn without_colour(mut self) -> Self {
        for (role, style) in &mut self.styles {
            let mut plain = Style::new().add_modifier(style.add_modifier);
            plain = match role {
                StyleRole::Selected | StyleRole::TabActive | StyleRole::Cursor => {
                    plain.add_modifier(Modifier::REVERSED)
                }
                StyleRole::Error | StyleRole::Held | StyleRole::Warning | StyleRole::Focus => {
                    plain.add_modifier(Modifier::BOLD)
                }
                StyleRole::Match | StyleRole::Chip => plain.add_modifier(Modifier::UNDERLINED),
                _ => plain,
            };
            *style = plain;
        }
        self
    }

    /// Returns the style of a role.
    pub fn style(&self, role: StyleRole) -> Style {
        self.styles.get(&role).copied().unwrap_or_default()
    }
}

impl Entry {
    fn style(self) -> Result<Style, String> {
        let colour = |text: &str| {
            Color::from_str(text).map_err(|_| {
                format!(
                    "{text:?} is not a colour; write a name such as \"light blue\", \"#rrggbb\" or a number"
                )
            })
        };
        match self {
            Self::Colour(text) => Ok(Style::new().fg(colour(&text)?)),
            Self::Number(index) => Ok(Style::new().fg(Color::Indexed(index))),
            Self::Style(detailed) => {
                let mut style = Style::new();
                style.fg = detailed.fg.as_deref().map(colour).transpose()?;
                style.bg = detailed.bg.as_deref().map(colour).transpose()?;
                for (on, modifier) in [
                    (detailed.bold, Modifier::BOLD),
                    (detailed.dim, Modifier::DIM),
                    (detailed.italic, Modifier::ITALIC),
                    (detailed.underline, Modifier::UNDERLINED),
                    (detailed.reverse, Modifier::REVERSED),
                ] {
                    if on {
                        style = style.add_modifier(modifier);
                    }
                }
                Ok(style)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_theme_styles_every_role() {
        for (name, text) in BUILT_IN {
            let theme = Theme::parse("dark", text, Path::new(name)).unwrap();
            for role in StyleRole::ALL {
                assert!(theme.styles.contains_key(role), "{name} has no {}", role.word());
            }
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = |text: &str| Theme::parse("mine", text, Path::new("mine.toml")).unwrap_err().to_string();
        assert_eq!(error("text = \"red\"\ntxet = \"red\""), "mine.toml:2:1: there is no role \"txet\"");
        assert!(error("text = \"reddish\"").starts_with("mine.toml:1:8: \"reddish\" is not a colour"));
        assert!(error("text = {\n").starts_with("mine.toml:"));
    }

    #[test]
    fn without_colour_the_selection_is_still_seen() {
        let theme = Theme::dark().without_colour();
        let style = theme.style(StyleRole::Selected);
        assert_eq!((style.fg, style.bg), (None, None));
        assert!(style.add_modifier.contains(Modifier::REVERSED));
    }
}
