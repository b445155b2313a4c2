//! Draws charts as SVG: no fonts to load, no colours that only some can tell apart, and the same
//! bytes for the same figures. A white ground makes them readable on dark pages too.

mod axis;
mod chart;
mod heat;
mod svg;

pub(crate) use axis::{AxisKind, AxisSpec};
pub(crate) use chart::{Chart, Point, SERIES_MAX, Series, Style};
pub(crate) use heat::{Column, HeatMap};
