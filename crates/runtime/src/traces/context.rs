//! The W3C `traceparent` (Trace Context, level 1): version, trace, span, flags.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The length of version 00; later ones may go on after a dash.
const LENGTH: usize = 55;

/// Reads a value; none where it is malformed, which begins a new trace.
pub(super) fn parse(value: &str) -> Option<SpanContext> {
    let known = value.get(..LENGTH)?;
    let (version, rest) = known.split_once('-')?;
    let (trace, rest) = rest.split_once('-')?;
    let (span, flags) = rest.split_once('-')?;
    let goes_on = &value[LENGTH..];
    let may_go_on = version != "00" && goes_on.starts_with('-');
    if version == "ff" || !(goes_on.is_empty() || may_go_on) {
        return None;
    }
    if !(is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Writes a value, of version 00.
pub(super) fn format(context: &SpanContext) -> String {
    let flags = (context.trace_flags() & TraceFlags::SAMPLED).to_u8();
    format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    #[test]
    fn what_is_written_is_read() {
        for flags in ["00", "01"] {
            let value = format!("00-{PLACE}-{flags}");
            let read = parse(&value).unwrap();
            assert_eq!((read.is_sampled(), read.is_remote()), (flags == "01", true));
            assert_eq!(format(&read), value);
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for value in [format!("01-{PLACE}-01"), format!("cc-{PLACE}-09-more"), format!("00-{PLACE}-ff")] {
            assert_eq!(format(&parse(&value).unwrap()), format!("00-{PLACE}-01"), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_place() {
        let nothing = "0".repeat(32);
        for bad in [
            String::new(),
            PLACE.to_owned(),
            format!("ff-{PLACE}-01"),
            format!("00-{PLACE}-01-more"),
            format!("01-{PLACE}-01more"),
            format!("00-{PLACE}-0"),
            format!("00-{}-01", PLACE.to_uppercase()),
            format!("00-{nothing}-b7ad6b7169203331-01"),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16)),
            format!("00-{}-01", PLACE.replace('-', "_")),
            format!("00-{}ä-01", &PLACE[..47]),
            format!("é{}", "0".repeat(60)),
        ] {
            assert_eq!(parse(&bad), None, "{bad:?}");
        }
    }
}
