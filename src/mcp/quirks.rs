//! Oddities of messages that can be read all the same.

/// A set of oddities, legal or not, that are worth showing and have no other effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks(u8);

impl Quirks {
    /// The text begins with a byte order mark.
    pub const BOM: Self = Self(1);
    /// A member of the envelope is there twice.
    pub const DUPLICATE_KEY: Self = Self(2);
    /// The `jsonrpc` member is missing or not `"2.0"`.
    pub const NO_VERSION: Self = Self(4);
    /// The id is neither a string nor an integer.
    pub const ILLEGAL_ID: Self = Self(8);
    /// The message has both a `result` and an `error`.
    pub const RESULT_AND_ERROR: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::BOM, "starts with a byte order mark"),
        (Self::DUPLICATE_KEY, "has a duplicate key (the last one counts)"),
        (Self::NO_VERSION, "lacks \"jsonrpc\":\"2.0\""),
        (Self::ILLEGAL_ID, "has an id that is neither string nor integer"),
        (Self::RESULT_AND_ERROR, "has both result and error"),
    ];

    /// Returns the quirks as a number, for an index.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns the quirks of a number that [`Quirks::bits`] returned; unknown bits are ignored.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }

    /// Returns `true` if all quirks of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if no quirk is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns a phrase for each quirk, to follow "the message …".
    pub fn describe(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(quirk, _)| self.has(*quirk)).map(|(_, name)| name)
    }
}
