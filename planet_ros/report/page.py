"""One HTML page that needs nothing but itself: sections, tables, and how they look.

It is right in light, in dark and on paper, on a phone and on a desktop. Its policy forbids it to
load anything and to run anything but the script below, whatever stands in the texts that it shows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planet_ros.report.markup import text


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: For links to it.
        heading: Above it.
        body: HTML; empty: the section is left out.
        lead: What is to be seen in it, HTML.
    """

    name: str
    heading: str
    body: str
    lead: str = ""


def page(title: str, head: str, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: Of the window.
        head: What comes first, HTML.
        sections: In their order.
    """
    shown = [one for one in sections if one.body]
    links = "".join(f'<a href="#{one.name}">{text(one.heading)}</a>' for one in shown)
    body = "".join(
        f'<section id="{one.name}"><h2>{text(one.heading)}</h2>'
        + (f'<p class="lead">{one.lead}</p>' if one.lead else "")
        + f"{one.body}</section>"
        for one in shown
    )
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<header>{head}<nav>{links}</nav></header>{body}</main>"
        f'<div id="tip" hidden></div><script>{_SCRIPT}</script></body></html>\n'
    )


def grid(figures: Iterable[str], small: bool = False) -> str:
    """Figures side by side where there is room; empty without any."""
    shown = [one for one in figures if one]
    kind = "grid small" if small else "grid"
    return f'<div class="{kind}">{"".join(shown)}</div>' if shown else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table; all cells are HTML."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    top = "".join(f"<th>{cell}</th>" for cell in head)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def folded(summary: str, body: str) -> str:
    """Something that is opened by who wants to see it; on paper it is open."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>" if body else ""


def tiles(values: Mapping[str, tuple[str, str]]) -> str:
    """Few numbers, large: what each is called, itself, and what to know of it; all HTML."""
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>"
            for name, (value, more) in values.items()
        )
        + "</dl>"
    )


def picture(png: bytes, about: str) -> str:
    """A small picture, enlarged without a blur."""
    return (
        f'<img class="pixels" alt="{text(about)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )


_STYLE = """
:root{--paper:#fff;--card:#f5f7f9;--ink:#1a1f26;--soft:#566170;--rule:#dde2e8;
--c1:#0068a8;--c2:#c94f00;--c3:#00805c;--c4:#a3467c;--c5:#b57a00;--c6:#3d8fc9;
--good:#00704f;--fair:#8a5a00;--bad:#b3261e}
@media screen and (prefers-color-scheme:dark){:root{--paper:#12161b;--card:#1b2129;--ink:#e8ecf1;
--soft:#a3adba;--rule:#313a45;--c1:#58b5ee;--c2:#ff9250;--c3:#37cfa3;--c4:#e79ac9;--c5:#efc14a;
--c6:#a9cdf5;--good:#4fd6ab;--fair:#efc14a;--bad:#ff8f85}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 18px 60px}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.2em 0 .3em;padding-top:.5em;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:0 0 .3em;overflow-wrap:anywhere}
p{margin:.4em 0}.lead,figcaption,.sub{color:var(--soft)}.lead{max-width:75ch}
a{color:var(--c1)}code,pre{font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
code{overflow-wrap:anywhere}
pre{background:var(--card);padding:12px;overflow:auto;border-radius:8px;white-space:pre-wrap;
overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:14px;font-size:.92rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;
margin:16px 0}
.tiles div{background:var(--card);border-radius:10px;padding:10px 14px;min-width:0}
.tiles dt{color:var(--soft);font-size:.85rem}
.tiles dd{margin:0;font-size:1.45rem;font-weight:600;line-height:1.25;overflow-wrap:anywhere}
.tiles small{display:block;font-size:.8rem;font-weight:400;color:var(--soft);line-height:1.35}
.verdict{border-left:5px solid var(--soft);background:var(--card);border-radius:0 10px 10px 0;
padding:12px 16px;margin:16px 0}
.verdict.good{border-color:var(--good)}.verdict.fair{border-color:var(--fair)}
.verdict.bad{border-color:var(--bad)}.verdict>strong{font-size:1.1rem}
.verdict ul,.notes ul{list-style:none;margin:.4em 0 0;padding:0}
.verdict li,.notes li{padding-left:1.6em;position:relative;margin:.25em 0;overflow-wrap:anywhere}
.verdict li::before,.notes li::before{position:absolute;left:0;font-weight:700}
li.good::before{content:"✓";color:var(--good)}li.fair::before{content:"~";color:var(--fair)}
li.bad::before{content:"✗";color:var(--bad)}li.note::before{content:"!";color:var(--fair)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));
gap:22px 26px;margin-top:14px;align-items:start}
.grid.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr))}
.grid.small svg text{font-size:12px}section>h3{margin-top:1.5em}
figure{margin:0;min-width:0;break-inside:avoid;position:relative}
figcaption{font-size:.88rem;margin-top:.3em}
.chart svg{display:block;width:100%;height:auto;max-width:560px;touch-action:pan-y}
svg text{font-size:12.5px;fill:var(--soft);font-family:inherit}svg .a{fill:var(--ink)}
.g{stroke:var(--rule);stroke-width:1}
.s{fill:none;stroke-width:2;stroke-linejoin:round;stroke:var(--k)}
.s.t{stroke-width:1;opacity:.5}.s.d{stroke-dasharray:6 4}
.p{fill:none;stroke:var(--k);stroke-width:5;stroke-linecap:round}.p.t{stroke-width:3.2;opacity:.7}
.f{fill:var(--k);opacity:.2}.b{fill:var(--k)}.z{fill:var(--k);opacity:.13}
.m{stroke:var(--k);stroke-width:1.5;stroke-dasharray:5 4}
.c0{--k:var(--soft)}.c1{--k:var(--c1)}.c2{--k:var(--c2)}.c3{--k:var(--c3)}.c4{--k:var(--c4)}
.c5{--k:var(--c5)}.c6{--k:var(--c6)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;margin:0 0 4px;padding:0;
font-size:.85rem;color:var(--soft)}
.legend li{display:flex;align-items:center;gap:6px;overflow-wrap:anywhere}
.k{flex:none;width:18px;height:0;border-top:3px solid var(--k)}.k.dash{border-top-style:dashed}
.k.box,.k.pale{height:11px;width:14px;border:0;background:var(--k)}.k.pale{opacity:.3}
.k.dot{width:9px;height:9px;border:0;border-radius:50%;background:var(--k)}
.hair{stroke:var(--soft);stroke-width:1;pointer-events:none}
#tip{position:absolute;z-index:9;pointer-events:none;background:var(--ink);color:var(--paper);
padding:6px 9px;border-radius:6px;font-size:.82rem;line-height:1.35;max-width:240px;
white-space:pre-line}
.wide{overflow-x:auto;margin:.8em 0}
table{border-collapse:collapse;font-size:.92rem;min-width:50%}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--rule);
vertical-align:top;font-variant-numeric:tabular-nums}
td,td code{overflow-wrap:break-word}td{max-width:34em}
th{color:var(--soft);font-weight:500}table.figures td:not(:first-child),
table.figures th:not(:first-child){text-align:right;padding-left:14px}
details{margin:.6em 0;border:1px solid var(--rule);border-radius:8px;padding:0 14px}
summary{cursor:pointer;padding:9px 0;font-weight:500}
.film{display:flex;gap:4px;overflow-x:auto;padding-bottom:6px}
.film figure{flex:none;width:96px;font-size:.78rem;color:var(--soft)}
.pixels{width:96px;image-rendering:pixelated;display:block;border:1px solid var(--rule)}
@media(max-width:480px){body{font-size:15px}main{padding:14px 14px 40px}
svg text{font-size:15px}.grid.small svg text{font-size:13px}
.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:1.2rem}
th,td{padding-right:10px}td{min-width:4.5em}}
@media print{:root{--ink:#000;--soft:#333}body{font-size:10.5pt}main{max-width:none;padding:0}
nav,#tip{display:none}.grid,.grid.small{grid-template-columns:1fr 1fr}
h2,h3{break-after:avoid}.wide,.film{overflow:visible}.film{flex-wrap:wrap}
details{border:0;padding:0}.tiles div,.verdict,pre,.k,.b,.f,.z{print-color-adjust:exact;
-webkit-print-color-adjust:exact}a{color:inherit}}
@page{margin:14mm}
"""

_SCRIPT = """
"use strict";
(function(){
var tip=document.getElementById("tip"),hair=null;
function show(value){
  if(value===null)return "\\u2014";
  return String(Number(value.toPrecision(4))).replace("-","\\u2212");
}
function hide(){tip.hidden=true;if(hair){hair.remove();hair=null;}}
function point(svg,data,event){
  var box=svg.getBoundingClientRect(),wide=svg.viewBox.baseVal,a=data.a;
  var x=(event.clientX-box.left)/box.width*wide.width;
  if(x<a[0]-6||x>a[1]+6){hide();return;}
  var value=a[2]+(x-a[0])/(a[1]-a[0])*(a[3]-a[2]),best=null;
  data.s.forEach(function(one){one.x.forEach(function(at){
    if(at!==null&&(best===null||Math.abs(at-value)<Math.abs(best-value)))best=at;});});
  if(best===null)return;
  var lines=[data.l+": "+show(best)],slack=(a[3]-a[2])/60;
  data.s.forEach(function(one){
    var near=-1;
    one.x.forEach(function(at,i){if(at!==null&&Math.abs(at-best)<=slack&&one.y[i]!==null&&
      (near<0||Math.abs(at-best)<Math.abs(one.x[near]-best)))near=i;});
    if(near>=0)lines.push(one.n+": "+show(one.y[near]));
  });
  tip.textContent=lines.slice(0,12).join("\\n");tip.hidden=false;
  var left=Math.min(event.pageX+14,document.documentElement.clientWidth-tip.offsetWidth-8);
  tip.style.left=Math.max(4,left)+"px";tip.style.top=(event.pageY+16)+"px";
  if(!hair||hair.parentNode!==svg){hide();tip.hidden=false;
    hair=document.createElementNS("http://www.w3.org/2000/svg","line");
    hair.setAttribute("class","hair");svg.appendChild(hair);}
  var place=a[0]+(best-a[2])/(a[3]-a[2])*(a[1]-a[0]);
  hair.setAttribute("x1",place);hair.setAttribute("x2",place);
  hair.setAttribute("y1",26);hair.setAttribute("y2",wide.height-48);
}
document.querySelectorAll("svg[data-plot]").forEach(function(svg){
  var data=JSON.parse(svg.dataset.plot);
  if(!data.s.length)return;
  svg.addEventListener("pointermove",function(event){point(svg,data,event);});
  svg.addEventListener("pointerdown",function(event){point(svg,data,event);});
  svg.addEventListener("pointerleave",hide);
});
var closed=[];
window.addEventListener("beforeprint",function(){
  closed=Array.from(document.querySelectorAll("details:not([open])"));
  closed.forEach(function(one){one.open=true;});});
window.addEventListener("afterprint",function(){closed.forEach(function(one){one.open=false;});});
})();
"""
