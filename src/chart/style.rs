//! The one look of all pictures, light and dark.

/// The colours of a picture that stands by itself. They follow the reader's preference.
pub const PALETTE: &str = "
.sluice-chart{--paper:#fff;--ink:#1f2328;--soft:#59636e;--faint:#d1d9e0;--stripe:#f6f8fa;--accent:#0969da;--on:#fff;
--closed:#eaeef2;--freeze:#54aeff;--warn:#bc4c00;--bad:#cf222e;--good:#1a7f37;--gate:#8250df;
--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;--c3:#8250df;--c4:#bf3989;--c5:#9a6700;--c6:#0a7ea4;--c7:#59636e;}
@media(prefers-color-scheme:dark){.sluice-chart{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--faint:#30363d;
--stripe:#151b23;--accent:#4493f8;--on:#0d1117;--closed:#1c222b;--freeze:#388bfd;--warn:#db6d28;--bad:#f85149;
--good:#3fb950;--gate:#ab7df8;--c0:#4493f8;--c1:#db6d28;--c2:#3fb950;--c3:#ab7df8;--c4:#db61a2;--c5:#d29922;
--c6:#56d4dd;--c7:#9198a1}}
";

/// The look of a picture. It holds for pictures only where it stands in a page, and takes its colours from variables
/// of these names: those of the palette, or those that the page has.
pub const RULES: &str = "
.sluice-chart{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;background:var(--paper)}
.sluice-chart text{fill:var(--ink)}
.sluice-chart .paper{fill:var(--paper)}
.sluice-chart .stripe{fill:var(--stripe)}
.sluice-chart .title{font-size:16px;font-weight:600}
.sluice-chart .label{font-weight:600;font-size:13px}
.sluice-chart .lane{font-size:12px}
.sluice-chart .soft,.sluice-chart .tick{fill:var(--soft);font-size:11px}
.sluice-chart .week{fill:var(--soft);font-size:11px;font-weight:600}
.sluice-chart .phase{fill:var(--soft);font-size:11px;font-style:italic}
.sluice-chart .grid{stroke:var(--faint);stroke-width:1}
.sluice-chart .rule{stroke:var(--soft);stroke-width:1}
.sluice-chart .now{stroke:var(--bad);stroke-width:1.5}
.sluice-chart .bar{fill:var(--accent)}
.sluice-chart .none{fill:none;stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
.sluice-chart .planned{fill:var(--faint)}
.sluice-chart .running{fill:var(--accent)}
.sluice-chart .done{fill:var(--good)}
.sluice-chart .blocked{fill:var(--warn)}
.sluice-chart .late{fill:var(--bad)}
.sluice-chart .inside{font-size:11px;font-weight:600}
.sluice-chart .inside.on{fill:var(--on)}
.sluice-chart .closed{fill:var(--closed)}
.sluice-chart .freeze{fill:var(--freeze);fill-opacity:.22}
.sluice-chart .cold{fill:var(--soft);font-size:10px;font-style:italic}
.sluice-chart .gate{fill:var(--gate);stroke:var(--paper);stroke-width:1.5}
.sluice-chart .given{fill:var(--paper);stroke:var(--gate);stroke-width:1.5}
.sluice-chart .down{fill:var(--bad);stroke:var(--paper);stroke-width:1}
.sluice-chart .wait{stroke:var(--warn);stroke-width:2;stroke-dasharray:2 2;fill:none}
.sluice-chart .check{stroke:var(--good);stroke-width:2.5;fill:none;stroke-linecap:round;stroke-linejoin:round}
.sluice-chart .event{stroke:var(--bad);stroke-width:1;stroke-dasharray:4 3}
.sluice-chart .badge{fill:var(--bad)}
.sluice-chart .limit{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:6 4;fill:none}
.sluice-chart .limit.soft-limit{stroke:var(--warn)}
.sluice-chart .gap{fill:var(--closed)}
.sluice-chart .curve{fill:none;stroke-width:2;stroke-linejoin:round}
.sluice-chart .d1{stroke-dasharray:9 3}.sluice-chart .d2{stroke-dasharray:3 3}.sluice-chart .d3{stroke-dasharray:12 3 3 3}
.sluice-chart .d4{stroke-dasharray:6 6}.sluice-chart circle.curve{stroke-dasharray:none}
.sluice-chart .c0{stroke:var(--c0)}.sluice-chart .c1{stroke:var(--c1)}.sluice-chart .c2{stroke:var(--c2)}
.sluice-chart .c3{stroke:var(--c3)}.sluice-chart .c4{stroke:var(--c4)}.sluice-chart .c5{stroke:var(--c5)}
.sluice-chart .c6{stroke:var(--c6)}.sluice-chart .c7{stroke:var(--c7)}
";

/// How many colours curves have: the classes `c0` to `c7`.
pub const COLOURS: usize = 8;

/// The class of the curve of this number.
pub const fn colour(number: usize) -> &'static str {
    match number % COLOURS {
        0 => "c0",
        1 => "c1",
        2 => "c2",
        3 => "c3",
        4 => "c4",
        5 => "c5",
        6 => "c6",
        _ => "c7",
    }
}
