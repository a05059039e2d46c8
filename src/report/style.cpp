#include "report/style.hpp"

#include "report/colour.hpp"

namespace mpimerge::report {
namespace {

constexpr const char* kRules = R"(
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1e23;--soft:#56606b;--line:#d9dee4;--panel:#f5f7f9;--mark:#3e5a98}
@media screen and (prefers-color-scheme:dark){
:root{--bg:#14171b;--fg:#e4e8ec;--soft:#a2acb7;--line:#353c45;--panel:#1d2127;--mark:#8db4ee}
}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1180px;padding:28px 20px 48px;background:var(--bg);color:var(--fg);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;line-height:1.3;margin:2.6rem 0 .9rem;padding-top:.7rem;border-top:1px solid var(--line)}
h3{font-size:1.02rem;margin:0 0 .5rem}
p{margin:.3rem 0;max-width:76ch}
code,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{font-size:.9em;overflow-wrap:anywhere;unicode-bidi:isolate}
.soft,figcaption,.lead{color:var(--soft)}
.note{background:var(--panel);border-left:4px solid var(--mark);padding:.6rem 1rem;margin:1.2rem 0;max-width:none}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:1.4rem 0 0;padding:0}
.tiles div{background:var(--panel);border-radius:8px;padding:.7rem .9rem}
.tiles dt{color:var(--soft);font-size:.86rem;line-height:1.3}
.tiles dd{margin:.15rem 0 0;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums;white-space:nowrap}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:34px 44px}
figure{margin:0;min-width:0;break-inside:avoid}
figcaption{font-size:.89rem;line-height:1.45;margin-top:.5rem}
svg{display:block;width:100%;height:auto;overflow:visible;font-size:12px}
svg text{fill:var(--fg);unicode-bidi:isolate}
svg .tick{font-size:11px;font-variant-numeric:tabular-nums}
svg text.tick:not([class*=" t"]){fill:var(--soft)}
svg .mono{font-size:11.5px}
svg .total{font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);stroke-width:1;fill:none}
.axis{stroke:var(--soft);stroke-width:1;fill:none}
.diagonal{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4;fill:none}
.line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}
.dash{stroke-dasharray:6 4}
.dot{fill:var(--c)}
.ring{fill:var(--bg);fill-opacity:.6;stroke:var(--c);stroke-width:1.8}
.bar{fill:var(--c)}
.none{fill:var(--panel)}
.cells{shape-rendering:crispEdges}
.cf{--c:var(--fg)}
.table{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.86rem;line-height:1.35}
.w{white-space:nowrap}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.32rem .55rem .32rem 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
tbody th{font-weight:400}
th.n,td.n{text-align:right;padding-left:.5rem;font-variant-numeric:tabular-nums;white-space:nowrap}
thead th.n{white-space:normal}
th code{overflow-wrap:normal;white-space:nowrap}
details{margin:1rem 0}
summary{cursor:pointer;color:var(--mark)}
pre{background:var(--panel);padding:.8rem 1rem;border-radius:8px;overflow-x:auto;font-size:.86rem;line-height:1.45}
a{color:var(--mark)}
footer{margin-top:3rem;padding-top:.8rem;border-top:1px solid var(--line);color:var(--soft);font-size:.89rem}
@media (max-width:600px){
body{padding:18px 14px 36px}
h1{font-size:1.4rem}
.tiles{grid-template-columns:repeat(2,1fr);gap:8px}
.tiles dd{font-size:1.2rem}
tbody th code{white-space:normal;overflow-wrap:break-word}
}
@media print{
html{font-size:8.5pt}
body{max-width:none;padding:0;font-size:1rem}
.table{overflow:visible}
table{font-size:.82rem}
th,td{padding-right:.3rem}
th code{white-space:normal;overflow-wrap:break-word}
caption{break-after:avoid}
.figures{grid-template-columns:1fr 1fr;gap:18px 26px}
h2,h3{break-after:avoid}
tr{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
@page{margin:14mm}
}
)";

}  // namespace

std::string style_sheet() { return kRules + colour_rules(); }

}  // namespace mpimerge::report
