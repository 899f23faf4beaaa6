//! Draws numbers as SVG: bars, in groups that are compared.

use std::fmt;

/// Bars beside each other for each group, one for each series.
#[derive(Debug)]
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    /// The groups' names.
    pub(super) groups: Vec<String>,
    /// Their names and a number for each group.
    pub(super) series: Vec<(String, Vec<Option<f64>>)>,
}

const COLORS: [&str; 6] = [
    "#1b6ca8", "#e07a3f", "#5a9e6f", "#9b6fb0", "#8a8a8a", "#c2a83e",
];
const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 20.0;
/// Above the highest bar: title and legend.
const TOP: f64 = 84.0;
/// Below the bars: the groups' names.
const BOTTOM: f64 = 34.0;
/// The part of a group's width that its bars take.
const FILLED: f64 = 0.86;

impl Bars<'_> {
    /// The picture, as a file.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"26\" font-size=\"16\" fill=\"#222222\">{title}</text>\n",
            title = escaped(self.title)
        );
        self.legend(&mut svg);
        self.bars(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for ((name, _), color) in self.series.iter().zip(COLORS.iter().cycle()) {
            let name = escaped(name);
            add(
                svg,
                format_args!(
                    "<rect x=\"{x:.0}\" y=\"42\" width=\"12\" height=\"12\" fill=\"{color}\"/>\
                     <text x=\"{text:.0}\" y=\"53\" fill=\"#222222\">{name}</text>",
                    text = x + 18.0
                ),
            );
            // No font is at hand to measure with: 8 units hold a letter of this size.
            x += 40.0 + 8.0 * name.chars().count() as f64;
        }
    }

    fn bars(&self, svg: &mut String) {
        let numbers = self.series.iter().flat_map(|(_, numbers)| numbers);
        let highest = numbers.flatten().copied().fold(0.0, f64::max);
        let floor = HEIGHT - BOTTOM;
        let group_width = (WIDTH - 2.0 * LEFT) / self.groups.len().max(1) as f64;
        let width = group_width * FILLED / self.series.len().max(1) as f64;
        for (at, group) in self.groups.iter().enumerate() {
            let left = LEFT + group_width * at as f64;
            add(
                svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222222\">{}</text>",
                    left + group_width / 2.0,
                    floor + 20.0,
                    escaped(group)
                ),
            );
            let mut x = left + group_width * (1.0 - FILLED) / 2.0;
            for ((_, numbers), color) in self.series.iter().zip(COLORS.iter().cycle()) {
                if let Some(number) = numbers.get(at).copied().flatten() {
                    let height = bar_height(number, highest);
                    add(
                        svg,
                        format_args!(
                            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{bar:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>\
                             <text x=\"{middle:.1}\" y=\"{label:.1}\" font-size=\"9\" text-anchor=\"middle\" fill=\"#444444\">{number}</text>",
                            top = floor - height,
                            bar = width * 0.92,
                            middle = x + width * 0.46,
                            label = floor - height - 4.0,
                            number = short(number)
                        ),
                    );
                }
                x += width;
            }
        }
        add(
            svg,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{:.0}\" y2=\"{floor}\" stroke=\"#888888\"/>",
                WIDTH - LEFT
            ),
        );
    }
}

/// In proportion to the highest. What is below nothing, which only noise can be, has no height.
fn bar_height(number: f64, highest: f64) -> f64 {
    if highest > 0.0 {
        (HEIGHT - TOP - BOTTOM) * (number / highest).max(0.0)
    } else {
        0.0
    }
}

/// Short enough to stand above a bar.
fn short(number: f64) -> String {
    match number.abs() {
        1_000_000.0.. => format!("{:.1}M", number / 1e6),
        10_000.0.. => format!("{:.0}k", number / 1e3),
        1000.0.. => format!("{:.1}k", number / 1e3),
        10.0.. => format!("{number:.0}"),
        _ => format!("{number:.1}"),
    }
}

fn add(svg: &mut String, line: fmt::Arguments<'_>) {
    svg.push_str(&line.to_string());
    svg.push('\n');
}

/// `text` as it may stand in XML, between tags and in quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            // XML has no way to write the other control characters.
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(
            escaped("a<b> & \"c\" 'd'\u{0}\n"),
            "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;  "
        );
        let svg = Bars {
            title: "</title><script>",
            groups: vec!["<g>".to_owned()],
            series: vec![("\"s\" & co".to_owned(), vec![Some(1.0)])],
        }
        .svg();
        assert!(!svg.contains("<script>"), "{svg}");
        assert!(!svg.contains("<g>"), "{svg}");
        assert!(svg.contains("&quot;s&quot; &amp; co"), "{svg}");
    }

    #[test]
    fn bars_are_in_proportion_and_none_leaves_the_picture() {
        assert_eq!(bar_height(10.0, 10.0), HEIGHT - TOP - BOTTOM);
        assert_eq!(bar_height(5.0, 10.0), bar_height(10.0, 10.0) / 2.0);
        assert_eq!(bar_height(-5.0, 10.0), 0.0);
        assert_eq!(bar_height(0.0, 0.0), 0.0);
    }

    #[test]
    fn a_number_that_was_not_measured_has_no_bar() {
        let bars = |numbers| Bars {
            title: "sample",
            groups: vec!["s1".to_owned(), "s2".to_owned()],
            series: vec![("ours".to_owned(), numbers)],
        };
        let count = |svg: String| svg.matches("<rect").count();
        let both = count(bars(vec![Some(1.0), Some(2.0)]).svg());
        let one = count(bars(vec![None, Some(2.0)]).svg());
        assert_eq!(both, one + 1);
    }

    #[test]
    fn numbers_above_bars_are_short() {
        for (number, expected) in [
            (0.44, "0.4"),
            (96.0, "96"),
            (2551.0, "2.6k"),
            (37_200.0, "37k"),
            (2_551_000.0, "2.6M"),
        ] {
            assert_eq!(short(number), expected);
        }
    }
}
