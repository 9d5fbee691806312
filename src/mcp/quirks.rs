//! What is odd about a message that can be read all the same.

/// Legal or illegal oddities that are worth showing and change nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks(u8);

impl Quirks {
    pub const BOM: Self = Self(1);
    pub const DUPLICATE_KEY: Self = Self(2);
    pub const NO_VERSION: Self = Self(4);
    pub const ILLEGAL_ID: Self = Self(8);
    pub const RESULT_AND_ERROR: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::BOM, "starts with a byte order mark"),
        (Self::DUPLICATE_KEY, "has a key twice (the last one counts)"),
        (Self::NO_VERSION, "lacks \"jsonrpc\":\"2.0\""),
        (Self::ILLEGAL_ID, "has an id that is neither string nor integer"),
        (Self::RESULT_AND_ERROR, "has both result and error"),
    ];

    /// The quirks as a number, for an index.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The quirks that [`Quirks::bits`] gave.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }

    /// Whether all of `other` are among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// A phrase for each, to follow "the message …".
    pub fn describe(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(quirk, _)| self.has(*quirk)).map(|(_, name)| name)
    }
}
