//! The few elements of SVG that charts are made of.

use std::fmt::Write;

/// Where a text is beside its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing under way.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// A white ground of this size.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let (w, h, title) = (number(width), number(height), escaped(title));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n"
        );
        let _ = writeln!(text, "<title>{title}</title>");
        let _ = writeln!(text, "<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>");
        Self { text }
    }

    /// A line; `look` has its attributes.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), look: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
        self.element(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {look}/>"));
    }

    /// A line through several points.
    pub(super) fn polyline(&mut self, points: &[(f64, f64)], look: &str) {
        let points: Vec<String> =
            points.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        let points = points.join(" ");
        self.element(&format!("<polyline points=\"{points}\" fill=\"none\" {look}/>"));
    }

    /// A filled shape with these corners.
    pub(super) fn polygon(&mut self, corners: &[(f64, f64)], look: &str) {
        let corners: Vec<String> =
            corners.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        let corners = corners.join(" ");
        self.element(&format!("<polygon points=\"{corners}\" {look}/>"));
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, look: &str) {
        let [x, y, r] = [at.0, at.1, radius].map(number);
        self.element(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" {look}/>"));
    }

    /// A rectangle by its upper left corner and its size.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), look: &str) {
        let [x, y, w, h] = [at.0, at.1, size.0, size.1].map(number);
        let rect = format!("<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" {look}/>");
        self.element(&rect);
    }

    pub(super) fn label(&mut self, at: (f64, f64), anchor: Anchor, look: &str, content: &str) {
        let [x, y] = [at.0, at.1].map(number);
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let content = escaped(content);
        self.element(&format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"#222222\" \
             {look}>{content}</text>"
        ));
    }

    /// A label that is turned around its point.
    pub(super) fn turned(&mut self, at: (f64, f64), anchor: Anchor, degrees: f64, content: &str) {
        let [x, y, degrees] = [at.0, at.1, degrees].map(number);
        let look = format!("transform=\"rotate({degrees} {x} {y})\"");
        self.label(at, anchor, &look, content);
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn element(&mut self, element: &str) {
        self.text.push_str(element);
        self.text.push('\n');
    }
}

/// A coordinate: a tenth of a pixel is enough, and keeps files small.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out_and_numbers_are_short() {
        let mut svg = Svg::new(10.0, 20.5, "a < b");
        svg.label((1.0, -0.04), Anchor::End, "", "\"x\" & <y>");
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        assert!(text.contains("&quot;x&quot; &amp; &lt;y&gt;"), "{text}");
        assert!(text.contains("x=\"1\" y=\"0\""), "{text}");
        assert!(text.contains("viewBox=\"0 0 10 20.5\""), "{text}");
    }
}
