//! What is done to the files of a tape without changing what they hold.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::copy::Copy;
use super::draft::Draft;
use super::packed::{self, Packed};
use super::reader::{Ending, Reader};
use super::source::Source;
use super::{OpenError, files, index, part};
use crate::clock::Stamp;
use crate::log::record::{Body, Level, Note, Record, SessionId};

/// Compresses the part at `path` in its place and returns where it is then; `done` is told how many
/// bytes were read. A part that is compressed already stays. What was written is read back and
/// compared before the old file goes.
///
/// # Errors
/// When something cannot be read or written; then the old file is as it was.
pub fn compress(path: &Path, done: &mut dyn FnMut(u64)) -> io::Result<PathBuf> {
    let source = Source::open(path)?;
    if let Source::Packed(_) = source {
        return Ok(path.to_owned());
    }
    let to = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if !name.ends_with(".zst") => path.with_file_name(format!("{name}.zst")),
        _ => path.to_owned(),
    };
    if to != path && to.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is there already", to.display()),
        ));
    }
    let draft = Draft::beside(&to)?;
    packed::pack(source.from(0)?, &mut draft.file()?, done)?;
    draft.file()?.sync_data()?;
    let written = Packed::open(draft.file()?)?.ok_or_else(|| io::Error::other("it has no table"))?;
    if hash(&mut written.from(0))? != hash(&mut source.from(0)?)? {
        return Err(io::Error::other("what was written is not what was read"));
    }
    // Compressing makes nothing younger: what is kept is told by age.
    if let Source::Plain(old) = &source
        && let Ok(modified) = old.metadata().and_then(|metadata| metadata.modified())
    {
        let _ = draft.file()?.set_modified(modified);
    }
    draft.persist(&to)?;
    if to != path {
        // The index is of the bytes before compression: it fits both.
        let _ = fs::rename(index::path_beside(path), index::path_beside(&to));
        fs::remove_file(path)?;
    }
    Ok(to)
}

fn hash(from: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    io::copy(from, &mut hash)?;
    Ok(hash.finalize().to_vec())
}

/// Writes what `source` holds to a new file.
///
/// # Errors
/// When there is such a file, or it cannot be written.
pub fn save(source: &Source, path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let draft = Draft::beside(path)?;
    let mut file: File = draft.file()?;
    io::copy(&mut source.from(0)?, &mut file)?;
    file.sync_data()?;
    draft.persist(path)
}

/// What a repair did.
pub struct Repaired {
    /// Records that were saved.
    pub records: u64,
    /// Notes on the new tape that say what was wrong.
    pub damages: usize,
    /// Where the tape is that was damaged.
    pub kept: PathBuf,
}

/// Writes the tape at `path` anew from what can be read of it, sealed; what is missing is said by
/// gaps. The damaged files are kept beside it.
///
/// # Errors
/// When it cannot be read or written, or another file is in the way; then everything is as it was.
pub fn repair(path: &Path) -> Result<Repaired, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let refused = |why: String| failed(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut reader = Reader::open(path)?;
    let header = reader.header().clone();
    if header.part != 1 {
        let first = files::first_part(path, header.part);
        return Err(refused(format!("it is part {}; repair {}", header.part, first.display())));
    }
    let to = path.with_file_name(format!("{}.tape", files::stem(path)));
    if to != path && to.exists() {
        return Err(refused(format!("{} is in the way", to.display())));
    }
    let mut copy = Copy::create(&to, &header).map_err(failed)?.filling();
    let (mut records, mut at) = (0, Stamp::default());
    for record in reader.by_ref() {
        copy.push(&record).map_err(failed)?;
        (records, at) = (records + 1, record.at);
    }
    // What was wrong stays known: a changed block reads like any other afterwards.
    let Ending { damage, torn, .. } = reader.ending();
    let mut remarks: Vec<String> =
        damage.iter().map(|damage| format!("byte {}: {}", damage.offset, damage.what)).collect();
    if *torn > 0 {
        remarks.push(format!("its end is missing: {torn} bytes of a line that is not whole were left out"));
    }
    let damages = remarks.len();
    for text in remarks {
        let text = format!("repaired: {text}");
        let note = Note { frame: None, mark: None, level: Level::Warning, by: "shadowcat".into(), text };
        let record = Record { seq: copy.last() + 1, at, session: SessionId(0), body: Body::Note(note) };
        copy.push(&record).map_err(failed)?;
    }
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let kept = damaged(path);
    copy.finish_behind(|| {
        for part in part::parts(path) {
            // It fits the damaged file only.
            let _ = fs::remove_file(index::path_beside(&part));
            fs::rename(&part, damaged(&part))?;
        }
        Ok(())
    })
    .map_err(failed)?;
    if let (Ok(modified), Ok(file)) = (modified, File::options().append(true).open(&to)) {
        let _ = file.set_modified(modified);
    }
    Ok(Repaired { records, damages, kept })
}

/// Where a damaged file is kept: a name that no file has.
fn damaged(part: &Path) -> PathBuf {
    let named = |number: u32| {
        let mut name = part.as_os_str().to_owned();
        name.push(".damaged");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    (1..).map(named).find(|name| !name.exists()).unwrap_or_else(|| named(1))
}
