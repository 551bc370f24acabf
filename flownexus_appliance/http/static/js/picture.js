// A chart as a file: as a picture, and what it shows as a table.
import { FONT_PX } from "./plotting.js";

const PAD = 16;
const TITLE_PX = 16;
const LINE_PX = 20;
const SWATCH_PX = 30;

/**
 * Saves a drawn canvas as PNG on the theme's background. `lines` is its legend, {text, hue, dash};
 * `subtitle` may be broken at its middle dots; colours and
 * fonts are those of `element`; `name` is the file's, without its ending.
 */
export async function savePicture(canvas, { element, title, subtitle, lines = [], name }) {
  const style = getComputedStyle(element);
  const colour = (token) => style.getPropertyValue(token).trim();
  const ratio = canvas.width / canvas.clientWidth;
  const width = canvas.clientWidth + 2 * PAD;
  const font = `${FONT_PX}px ${colour("--font")}`;
  const rows = layOut(lines, canvas.clientWidth, font);
  const told = wrapped(subtitle.split(" \u00b7 "), canvas.clientWidth, font);
  const head = PAD + TITLE_PX + told.length * LINE_PX + 4;
  const picture = document.createElement("canvas");
  picture.width = Math.round(width * ratio);
  picture.height = Math.round((head + canvas.clientHeight + rows.height + PAD) * ratio);
  const ctx = picture.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.fillStyle = colour("--card");
  ctx.fillRect(0, 0, picture.width, picture.height);
  write(ctx, title, PAD, PAD + TITLE_PX, `600 ${TITLE_PX}px ${colour("--font")}`, colour("--ink"));
  for (const [at, text] of told.entries()) {
    write(ctx, text, PAD, PAD + TITLE_PX + (at + 1) * LINE_PX, font, colour("--muted"));
  }
  ctx.drawImage(canvas, PAD, head, canvas.clientWidth, canvas.clientHeight);
  for (const { line, x, y } of rows.placed) {
    swatch(ctx, line, PAD + x, head + canvas.clientHeight + y);
    const at = [PAD + x + SWATCH_PX + 6, head + canvas.clientHeight + y];
    write(ctx, line.text, ...at, font, colour("--ink"));
  }
  const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/png"));
  save(blob, `${name}.png`);
}

/** Saves rows as CSV (RFC 4180). A text that a spreadsheet takes for a formula gets an apostrophe in front. */
export function saveTable(rows, name) {
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  save(new Blob([`${text}\r\n`], { type: "text/csv;charset=utf-8" }), `${name}.csv`);
}

/** A name of a file that every system takes. */
export function fileName(...parts) {
  return ["flownexus", ...parts].join("-").replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 120);
}

function cell(value) {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r\n'\uFF1D\uFF0B\uFF0D\uFF20]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Where each entry of a legend stands, from left to right and then below. */
function layOut(lines, width, font) {
  const ctx = document.createElement("canvas").getContext("2d");
  ctx.font = font;
  const placed = [];
  let [x, y] = [0, LINE_PX];
  for (const line of lines) {
    const needed = SWATCH_PX + 6 + ctx.measureText(line.text).width + PAD;
    if (x > 0 && x + needed > width) {
      x = 0;
      y += LINE_PX;
    }
    placed.push({ line, x, y });
    x += needed;
  }
  return { placed, height: lines.length ? y : 0 };
}

/** Pieces of a text in as many lines as they need. */
function wrapped(pieces, width, font) {
  const ctx = document.createElement("canvas").getContext("2d");
  ctx.font = font;
  const found = [];
  for (const piece of pieces) {
    const longer = found.length ? `${found.at(-1)} \u00b7 ${piece}` : piece;
    if (found.length && ctx.measureText(longer).width <= width) found[found.length - 1] = longer;
    else found.push(piece);
  }
  return found;
}

function write(ctx, text, x, y, font, colour) {
  ctx.font = font;
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

function swatch(ctx, { hue, dash }, x, y) {
  ctx.save();
  ctx.strokeStyle = hue;
  ctx.lineWidth = 2;
  ctx.setLineDash(dash ?? []);
  ctx.beginPath();
  ctx.moveTo(x, y - 4);
  ctx.lineTo(x + SWATCH_PX, y - 4);
  ctx.stroke();
  ctx.restore();
}
