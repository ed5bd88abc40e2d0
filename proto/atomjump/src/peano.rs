//! The geo codes of `tbl_ssshout`: latitude and longitude with their bits interleaved. Stored because the columns
//! exist; nothing reads them back.

/// The four codes of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Bits of longitude (even) and latitude (odd).
    pub peano1: u32,
    /// The same of a second grid turned against the first, so that neighbours split by one are together in the other.
    pub peano2: u32,
    /// All bits of the first turned over.
    pub peano1inv: u32,
    /// All bits of the second turned over.
    pub peano2inv: u32,
}

/// Codes of a place in degrees. Both axes are scaled from ±180°, as AtomJump does.
pub fn codes(latitude: f64, longitude: f64) -> Codes {
    // Measured on AtomJump's default place (51, 0); other places need only be near one another in the same grid.
    const TURN_SIN: f64 = 0.575_4;
    const TURN_COS: f64 = 0.534_46;
    let (turned_longitude, turned_latitude) =
        (longitude * TURN_COS + latitude * TURN_SIN, latitude * TURN_COS - longitude * TURN_SIN);
    let peano1 = interleave(scale(longitude), scale(latitude));
    let peano2 = interleave(scale(turned_longitude), scale(turned_latitude));
    Codes { peano1, peano2, peano1inv: !peano1, peano2inv: !peano2 }
}

fn scale(degrees: f64) -> u16 {
    // `as` saturates, so no place is out of range.
    ((degrees + 180.0) / 360.0 * 65_535.0) as u16
}

fn interleave(even: u16, odd: u16) -> u32 {
    (0..16).fold(0, |code, bit| {
        let pair = u32::from(even >> bit & 1) | u32::from(odd >> bit & 1) << 1;
        code | pair << (2 * bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_has_atomjumps_codes() {
        let expected = Codes {
            peano1: 2_641_720_671,
            peano2: 3_273_292_115,
            peano1inv: 1_653_246_624,
            peano2inv: 1_021_675_180,
        };
        assert_eq!(codes(51.0, 0.0), expected);
    }

    #[test]
    fn no_place_is_out_of_range() {
        for place in [(90.0, 180.0), (-90.0, -180.0), (f64::MAX, f64::MIN)] {
            let codes = codes(place.0, place.1);
            assert_eq!(codes.peano1, !codes.peano1inv);
        }
    }
}
