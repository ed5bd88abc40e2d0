//! Lengths and sizes drawn from a seeded generator. Never knows what is drawn.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::agenda::{HOUR, Ms};

/// A generator of its own for each part of a run, so that what one part draws changes nothing for the others: the old
/// plan and the new one meet the same visitors.
pub fn generator(seed: u64, part: u64, number: u64) -> StdRng {
    let mut bytes = [0; 32];
    for (at, word) in [seed, part, number].into_iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// How something is spread.
#[derive(Clone, Copy, Debug)]
pub enum Spread {
    /// Always the same.
    Fixed(Ms),
    /// Evenly between two.
    Even(Ms, Ms),
    /// As often in any moment; its mean.
    Exponential(Ms),
    /// Half below the median, some far above: the natural logarithm's standard deviation, in hundredths.
    Skewed {
        /// Half of them are shorter.
        median: Ms,
        /// How far they lie apart.
        hundredths: u32,
        /// None is longer.
        most: Ms,
    },
    /// Until this hour of the day, give or take an hour.
    UntilHour(u32),
}

impl Spread {
    /// Draws one. `now` is the time of the run, whose days begin at midnight.
    pub fn draw(self, rng: &mut StdRng, now: Ms) -> Ms {
        match self {
            Self::Fixed(length) => length,
            Self::Even(least, most) => rng.random_range(least..=most),
            Self::Exponential(mean) => (-unit(rng).ln() * mean as f64) as Ms,
            Self::Skewed { median, hundredths, most } => {
                let factor = (normal(rng) * f64::from(hundredths) / 100.0).exp();
                ((median as f64 * factor) as Ms).min(most)
            }
            Self::UntilHour(hour) => {
                let day = 24 * HOUR;
                let wait = (u64::from(hour) * HOUR + day - now % day) % day;
                // Just past it: the next day's.
                let wait = if wait < 2 * HOUR { wait + day } else { wait };
                wait - HOUR + rng.random_range(0..=2 * HOUR)
            }
        }
        .max(1)
    }
}

/// Above 0, up to 1.
pub fn unit(rng: &mut StdRng) -> f64 {
    1.0 - rng.random::<f64>()
}

/// Around 0, with a standard deviation of 1.
pub fn normal(rng: &mut StdRng) -> f64 {
    let (radius, angle) = ((-2.0 * unit(rng).ln()).sqrt(), std::f64::consts::TAU * unit(rng));
    radius * angle.cos()
}
