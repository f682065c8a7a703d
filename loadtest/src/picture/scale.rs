//! From values to places on a chart, and where the ticks go: round numbers, few of them, the whole
//! range covered.

/// Ticks of a linear scale, about.
const LINEAR_TICKS: f64 = 5.0;
/// Ticks of a logarithmic scale, at most; beyond them only powers of ten are written.
const LOG_TICKS_MAX: usize = 7;

/// A scale that covers the values it was made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0 to `top`.
    Linear {
        /// The highest value.
        top: f64,
        /// Between ticks.
        step: f64,
    },
    /// From `low` to `high`, by powers.
    Log {
        /// A round number above 0.
        low: f64,
        /// A larger one.
        high: f64,
    },
    /// Shares from 0 to so many nines (0.9, 0.99, ...), each nine as wide as the next.
    Nines(u8),
}

impl Scale {
    /// From 0 to at least `max`.
    pub(super) fn linear(max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_up(max / LINEAR_TICKS);
        Self::Linear { top: (max / step).ceil() * step, step }
    }

    /// From 0 to just `max`, so that nothing stands empty behind it.
    pub(super) fn span(max: f64) -> Self {
        match Self::linear(max) {
            Self::Linear { step, .. } if max > 0.0 => Self::Linear { top: max, step },
            other => other,
        }
    }

    /// Around all of these values; those that are not above 0 have no place on it.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = positive.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if high == 0.0 {
            return Self::Log { low: 1.0, high: 10.0 };
        }
        let (low, high) = (round_down(low), round_up(high));
        Self::Log { low, high: if high > low { high } else { low * 10.0 } }
    }

    /// 0 at the low end, 1 at the high end; what lies outside is put at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { top, .. } => value / top,
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
            Self::Nines(nines) => nines_of(value) / f64::from(nines),
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// Values and how they are written.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { top, step } => {
                // A thousandth of grace: a top that is a whole number of steps has a tick.
                let count = (top / step + 0.001).floor() as u32;
                (0..=count).map(|i| step * f64::from(i)).map(|value| (value, short(value))).collect()
            }
            Self::Log { low, high } => {
                let all: Vec<f64> = std::iter::successors(Some(low), |value| Some(next_round(*value)))
                    .take_while(|value| *value <= high * 1.001)
                    .collect();
                let decades = |value: &f64| all.len() <= LOG_TICKS_MAX || is_power_of_ten(*value);
                all.iter().copied().filter(decades).map(|value| (value, short(value))).collect()
            }
            Self::Nines(nines) => {
                let tick = |n: u8| match n {
                    0 => (0.0, "0 %".into()),
                    1 => (0.9, "90 %".into()),
                    2 => (0.99, "99 %".into()),
                    _ => (1.0 - 0.1_f64.powi(n.into()), format!("99.{} %", "9".repeat(usize::from(n) - 2))),
                };
                (0..=nines).map(tick).collect()
            }
        }
    }
}

/// How many nines a share has: 0.9 has one, 0.99 two.
fn nines_of(share: f64) -> f64 {
    -(1.0 - share.clamp(0.0, 1.0 - 1e-12)).log10()
}

/// The smallest of 1, 2, 5, 10, ... that is not below.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    // A thousandth of grace: 2.0000001 is two.
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| value <= power * factor * 1.001);
    power * factor.unwrap_or(10.0)
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    power * [5.0, 2.0].into_iter().find(|factor| value >= power * factor * 0.999).unwrap_or(1.0)
}

fn next_round(value: f64) -> f64 {
    round_up(value * 1.5)
}

fn is_power_of_ten(value: f64) -> bool {
    (value.log10() - value.log10().round()).abs() < 1e-6
}

/// A number in few characters: 950, 12k, 1.25M, 0.5.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 999_500.0 => (value / 1e6, "M"),
        large if large >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        large if large >= 99.95 => 0,
        large if large >= 9.995 => 1,
        large if large >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_cover_the_values() {
        assert_eq!(written(Scale::linear(47_300.0)), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(written(Scale::linear(2.0)), ["0", "0.5", "1", "1.5", "2"]);
        assert_eq!(written(Scale::linear(0.0)).first().unwrap(), "0", "no values, and yet an axis");
        assert_eq!(Scale::linear(50.0).place(25.0), 0.5);
        assert_eq!(written(Scale::span(13.0)), ["0", "5", "10"]);
        assert_eq!(Scale::span(13.0).place(13.0), 1.0);
        assert_eq!(Scale::span(0.0), Scale::linear(0.0));
    }

    #[test]
    fn log_ticks_are_round_and_few() {
        assert_eq!(written(Scale::log([0.9, 40.0].into_iter())), ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!(written(Scale::log([0.5, 4_000.0].into_iter())), ["1", "10", "100", "1000"]);
        assert_eq!(written(Scale::log([0.0, f64::NAN].into_iter())), ["1", "2", "5", "10"]);
        assert_eq!(written(Scale::log([2.0].into_iter())).first().unwrap(), "2");
        let scale = Scale::log([1.0, 100.0].into_iter());
        assert!((scale.place(10.0) - 0.5).abs() < 1e-9);
        assert_eq!((scale.place(0.0), scale.place(1e9)), (0.0, 1.0));
    }

    #[test]
    fn each_nine_is_as_wide_as_the_next() {
        let scale = Scale::Nines(4);
        assert_eq!(written(scale), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        for (share, place) in [(0.0, 0.0), (0.9, 0.25), (0.99, 0.5), (0.999, 0.75), (0.9999, 1.0), (1.0, 1.0)] {
            assert!((scale.place(share) - place).abs() < 1e-6, "{share}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.05, 0.5, 7.25, 12.34, 950.0, 1_234.0, 12_345.0, 999_999.0, 1_250_000.0].map(short);
        assert_eq!(texts, ["0", "0.05", "0.5", "7.25", "12.3", "950", "1234", "12.3k", "1M", "1.25M"]);
    }

    proptest! {
        #[test]
        fn whatever_the_values_every_one_has_a_place_and_ticks_rise(max in 1e-6_f64..1e12, part in 0.0_f64..=1.0) {
            for scale in [Scale::linear(max), Scale::log([max * (part + 1e-9), max].into_iter())] {
                let ticks = scale.ticks();
                prop_assert!(ticks.len() >= 2 && ticks.len() <= 16, "{ticks:?}");
                prop_assert!(ticks.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert!((0.0..=1.0).contains(&scale.place(max * part)));
                let top = ticks.last().unwrap().0;
                prop_assert!(matches!(scale, Scale::Log { .. }) || top >= max * 0.999, "{top} covers {max}");
            }
        }
    }
}
