/** The little of SVG that plots need. */

/** A piece of SVG: text that is safe to be put inside other elements. */
export type Svg = string & { readonly svg: unique symbol };

/** What an element's attributes may be. Numbers are written with at most two digits behind the point. */
export type Attributes = Readonly<Record<string, string | number>>;

/** An element around others. */
export function element(name: string, attributes: Attributes, ...children: readonly Svg[]): Svg {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeText(show(value))}"`);
  const start = `<${name}${written.join("")}`;
  return (children.length === 0 ? `${start}/>` : `${start}>${children.join("")}</${name}>`) as Svg;
}

/** Text at a place; `anchor` says which end of it stands there. */
export function text(
  x: number,
  y: number,
  content: string,
  anchor: "start" | "middle" | "end",
  more: Attributes = {},
): Svg {
  return element("text", { x, y, "text-anchor": anchor, ...more }, escapeText(content));
}

/** A straight line. */
export function line(x1: number, y1: number, x2: number, y2: number, stroke: string, more: Attributes = {}): Svg {
  return element("line", { x1, y1, x2, y2, stroke, ...more });
}

/** A whole picture, on white, so that it can be read on a dark page too. */
export function picture(width: number, height: number, title: string, ...children: readonly Svg[]): string {
  const size = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height };
  const font = { "font-family": "system-ui, sans-serif", "font-size": 12, fill: "#222" };
  const background = element("rect", { width, height, fill: "#fff" });
  const heading = text(12, 22, title, "start", { "font-size": 15, "font-weight": 600 });
  const name = element("title", {}, escapeText(title));
  return `${element("svg", { ...size, ...font, role: "img" }, name, background, heading, ...children)}\n`;
}

function show(value: string | number): string {
  return typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
}

function escapeText(content: string): Svg {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return content.replace(/[&<>"]/g, (sign) => entities[sign] ?? sign) as Svg;
}
