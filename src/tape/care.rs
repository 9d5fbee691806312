//! Maintenance of the files of a tape that does not change what they hold: compression, copies and
//! repair.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::copy::Copy;
use super::draft::Draft;
use super::packed::{self, Packed};
use super::reader::{Ending, Reader};
use super::source::PartBytes;
use super::{OpenError, files, index, part};
use crate::clock::Stamp;
use crate::log::record::{Body, Level, Note, Record, SessionId};

/// Compresses the part at `path` in place and returns its new path; a compressed part stays as it
/// is. `done` is called with the number of bytes read. The result is read back and compared before
/// the old file is removed.
///
/// # Errors
/// Returns an error if a file cannot be read or written, or if the new path is taken; the old file
/// is unchanged then.
pub fn compress(path: &Path, done: &mut dyn FnMut(u64)) -> io::Result<PathBuf> {
    let source = PartBytes::open(path)?;
    if let PartBytes::Packed(_) = source {
        return Ok(path.to_owned());
    }
    let to = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if !name.ends_with(".zst") => path.with_file_name(format!("{name}.zst")),
        _ => path.to_owned(),
    };
    if to != path && to.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists already", to.display())));
    }
    let draft = Draft::beside(&to)?;
    packed::pack(source.from(0)?, &mut draft.file()?, done)?;
    draft.file()?.sync_data()?;
    let written =
        Packed::open(draft.file()?)?.ok_or_else(|| io::Error::other("no seek table was written"))?;
    if hash(&mut written.from(0))? != hash(&mut source.from(0)?)? {
        return Err(io::Error::other("verification failed: the compressed data differs"));
    }
    // The modification time is kept: tapes are deleted by age.
    if let PartBytes::Plain(old) = &source
        && let Ok(modified) = old.metadata().and_then(|metadata| metadata.modified())
    {
        let _ = draft.file()?.set_modified(modified);
    }
    draft.persist(&to)?;
    if to != path {
        // Offsets in the index refer to uncompressed bytes, so the index remains valid.
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

/// Writes the uncompressed bytes of `source` to a new file.
///
/// # Errors
/// Returns an error if the file exists or cannot be written.
pub fn save(source: &PartBytes, path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let draft = Draft::beside(path)?;
    let mut file: File = draft.file()?;
    io::copy(&mut source.from(0)?, &mut file)?;
    file.sync_data()?;
    draft.persist(path)
}

/// Result of a repair.
pub struct Repaired {
    /// Number of records that were saved.
    pub records: u64,
    /// Number of notes on the new tape that describe the damage.
    pub damages: usize,
    /// Path of the damaged tape.
    pub kept: PathBuf,
}

/// Writes the tape at `path` anew from what can be read of it, and seals it; gaps stand for missing
/// records. The damaged files are kept beside it.
///
/// # Errors
/// Returns an error if the tape cannot be read, `path` is not its first part, another file is in
/// the way, or the new tape cannot be written. Files are not touched before the new tape is
/// complete.
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
        return Err(refused(format!("{} exists already", to.display())));
    }
    let mut copy = Copy::create(&to, &header).map_err(failed)?.filling();
    let (mut records, mut at) = (0, Stamp::default());
    for record in reader.by_ref() {
        copy.push(&record).map_err(failed)?;
        (records, at) = (records + 1, record.at);
    }
    // Damage is recorded in notes: a changed block cannot be recognized afterwards.
    let Ending { damage, torn, .. } = reader.ending();
    let mut remarks: Vec<String> =
        damage.iter().map(|damage| format!("byte {}: {}", damage.offset, damage.what)).collect();
    if *torn > 0 {
        remarks.push(format!("incomplete end: {torn} bytes of an incomplete last line were dropped"));
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
            // The index matches the damaged file only.
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

/// Returns an unused path for a damaged file.
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
