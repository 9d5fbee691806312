//! How the files of a tape are called: its parts, and what lies beside them.

use std::path::{Path, PathBuf};

/// What the name of a tape ends with, plain or compressed.
pub const ENDINGS: [&str; 2] = [".tape", ".tape.zst"];

/// The name without what tells that it is a tape, and that ending.
fn split(path: &Path) -> Option<(String, &'static str)> {
    let name = path.file_name()?.to_str()?;
    ENDINGS.into_iter().find_map(|ending| Some((name.strip_suffix(ending)?.to_owned(), ending)))
}

/// Whether this is how tapes are called.
pub fn is_tape(path: &Path) -> bool {
    split(path).is_some()
}

/// What people call the file: its name without an ending.
pub fn stem(path: &Path) -> String {
    match split(path) {
        Some((stem, _)) => stem,
        None => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// The file of part `number` of the tape at `path`: `x.tape`, `x.2.tape`, …
pub fn part_path(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let ending = split(path).map_or(ENDINGS[0], |(_, ending)| ending);
    path.with_file_name(format!("{}.{number}{ending}", stem(path)))
}

/// The file of the part behind part `number`, compressed or not.
pub fn next_part(path: &Path, number: u32) -> PathBuf {
    let stem = stem(path);
    let named = |ending: &str| path.with_file_name(format!("{stem}.{}{ending}", number + 1));
    let there = ENDINGS.into_iter().map(named).find(|path| path.exists());
    there.unwrap_or_else(|| part_path(path, number + 1))
}

/// The path of the first part of a tape, from that of part `number`.
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

/// The file of notes beside a tape that may not change any more.
pub fn notes(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.notes", stem(path)))
}

/// Whether another tape is called the same, but for its ending: they share their notes.
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
