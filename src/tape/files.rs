//! File names of tapes: their parts and the files beside them.

use std::path::{Path, PathBuf};

/// File name extensions of tapes, plain and compressed.
pub const ENDINGS: [&str; 2] = [".tape", ".tape.zst"];

/// Splits a file name into its stem and the extension of a tape.
fn split(path: &Path) -> Option<(String, &'static str)> {
    let name = path.file_name()?.to_str()?;
    ENDINGS.into_iter().find_map(|ending| Some((name.strip_suffix(ending)?.to_owned(), ending)))
}

/// Returns `true` if the file name has the extension of a tape.
pub fn is_tape(path: &Path) -> bool {
    split(path).is_some()
}

/// Returns the file name without the extension of a tape (or any other extension), as people call
/// the file.
pub fn stem(path: &Path) -> String {
    match split(path) {
        Some((stem, _)) => stem,
        None => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// Returns the path of part `number` of the tape at `path`: `x.tape`, `x.2.tape`, …
pub fn part_path(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let ending = split(path).map_or(ENDINGS[0], |(_, ending)| ending);
    path.with_file_name(format!("{}.{number}{ending}", stem(path)))
}

/// Returns the path of the part behind part `number`, compressed or not. If there is none, returns
/// the path that it would have.
pub fn next_part(path: &Path, number: u32) -> PathBuf {
    let stem = stem(path);
    let named = |ending: &str| path.with_file_name(format!("{stem}.{}{ending}", number + 1));
    let there = ENDINGS.into_iter().map(named).find(|path| path.exists());
    there.unwrap_or_else(|| part_path(path, number + 1))
}

/// Returns the path of the first part of a tape, given the path of part `number`.
pub fn first_part(path: &Path, number: u32) -> PathBuf {
    let stem = stem(path);
    match stem.strip_suffix(&format!(".{number}")) {
        Some(stem) if number > 1 => {
            let named = |ending: &str| path.with_file_name(format!("{stem}{ending}"));
            let there = ENDINGS.into_iter().map(named).find(|path| path.exists());
            there.unwrap_or_else(|| named(ENDINGS[0]))
        }
        _ => path.to_owned(),
    }
}

/// Returns the path of the notes file beside a tape, which holds notes on tapes that may not change
/// any more.
pub fn notes(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.notes", stem(path)))
}

/// Returns `true` if another tape differs only in the extension: the two share one notes file.
pub fn has_twin(path: &Path) -> bool {
    split(path).is_some_and(|(stem, own)| {
        let others = ENDINGS.into_iter().filter(|ending| *ending != own);
        others.map(|ending| path.with_file_name(format!("{stem}{ending}"))).any(|twin| twin.exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_after_the_first() {
        let path = |name: &str| PathBuf::from(name);
        assert_eq!(part_path(&path("d/a.b.tape"), 3), path("d/a.b.3.tape"));
        assert_eq!(part_path(&path("a.tape.zst"), 2), path("a.2.tape.zst"));
        assert_eq!(first_part(&path("a.2.tape"), 2), path("a.tape"));
        assert_eq!(first_part(&path("a.2.tape"), 1), path("a.2.tape"), "it may be called so");
        assert_eq!(stem(&path("x/a.tape.zst")), "a");
    }
}
