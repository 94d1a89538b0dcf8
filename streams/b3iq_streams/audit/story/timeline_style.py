"""How the picture of a history looks, light and dark. Nothing but CSS."""

CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5d6670;--rule:#e2e5e9;--card:#f7f8f9;
--yes:#2c8a66;--no:#c0392f;--on-no:#fff;--doubt:#a86d10;--quiet:#8a939c;--mark:#4a5be0}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e7e9eb;--soft:#9ba4ad;--rule:#2b3036;--card:#1b1f23;
--yes:#4db48b;--no:#ef7064;--on-no:#210b08;--doubt:#e2b24d;--quiet:#6d767f;--mark:#97a3ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 24px 48px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:0}h3{font-size:14px;margin:28px 0 6px}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.93em;overflow-wrap:anywhere}
p{margin:0 0 8px}.soft{color:var(--soft)}
section{margin-top:36px}
.figure{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 14px;margin-bottom:8px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:18px 0 0;padding:0;list-style:none;font-size:13px;color:var(--soft)}
.legend svg{width:22px;height:14px;margin-right:6px;vertical-align:-2px}
.chart{display:grid;grid-template-columns:76px minmax(0,1fr)}
.chart svg{display:block;width:100%;overflow:hidden}
.label{font-size:13px;color:var(--soft);padding-top:2px;line-height:18px}
.grid{stroke:var(--rule)}
.revision{stroke:var(--mark);stroke-width:1.5;stroke-dasharray:4 3}
.yes{fill:var(--yes)}
.no,.fail{fill:var(--no);stroke:var(--no);stroke-width:1}
.pass{fill:var(--yes)}
.unknown{fill:url(#doubt);stroke:var(--doubt);stroke-width:1}
.unproven{opacity:.45}
.quiet{fill:url(#quiet)}
text{font:12px system-ui,sans-serif;fill:var(--soft)}
.name,.beside text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.name{fill:var(--on-no)}.beside text{fill:var(--ink)}.beside rect{fill:var(--paper)}.name,.beside{pointer-events:none}
.tip{visibility:hidden;fill:var(--ink)}
.stop:hover .tip,.stop:focus .tip{visibility:visible}
.stop:focus{outline:none}.stop:focus rect{stroke:var(--ink);stroke-width:2}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-weight:600;text-align:left;color:var(--soft);font-size:13px}
th,td{padding:5px 16px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}
th:last-child,td:last-child{padding-right:0}
td.num,th.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.time,span.time{white-space:nowrap;font-variant-numeric:tabular-nums}
td code{overflow-wrap:normal}.says{overflow-wrap:anywhere;min-width:15em}
summary{cursor:pointer;margin:22px 0 6px;font-weight:600;font-size:14px}
.alert{border-left:4px solid var(--no);background:var(--card);padding:12px 16px;margin-top:20px}
footer{margin-top:44px;font-size:13px;color:var(--soft)}
@media (max-width:820px){.name,.beside{display:none}}
@media (max-width:600px){main{padding:20px 16px 32px}.minor{display:none}.chart{grid-template-columns:62px minmax(0,1fr)}
.label{font-size:12px}.tip{font-size:11px}}
""".strip()
