// Wide figures get a box; where a phone scrolls it, the keyboard reaches it and it has a name.
"use strict";

const WIDE_PX = 600;
const BOXES =
  ".sideways, .wide-table, .pst-scrollable-table-container, .cell_output:has(table), .cell_output .output:has(table)";
const narrow = window.matchMedia("(max-width: 500px)");

function announce(box) {
  const attributes = { tabindex: 0, role: "region", "aria-label": "Figure, scrolls sideways" };
  for (const [name, value] of Object.entries(attributes)) {
    if (narrow.matches) box.setAttribute(name, value);
    else box.removeAttribute(name);
  }
}

function hint() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.parentElement.closest(BOXES)) continue;
    const parts = [box, ...box.querySelectorAll(BOXES)];
    box.classList.toggle("scrolls", parts.some((part) => part.scrollWidth > part.clientWidth + 1));
  }
}

function widen(image) {
  if (image.naturalWidth < WIDE_PX) return;
  const box = document.createElement("div");
  box.className = "sideways";
  const shown = image.closest("a") ?? image;  // a figure links to its file
  shown.replaceWith(box);
  box.append(shown);
  announce(box);
  hint();
}

document.addEventListener("DOMContentLoaded", () => {
  for (const image of document.querySelectorAll("figure img, .cell_output img")) {
    if (image.complete) widen(image);
    else image.addEventListener("load", () => widen(image), { once: true });
  }
  hint();
});
for (const moment of ["load", "resize"]) window.addEventListener(moment, hint);
narrow.addEventListener("change", () => document.querySelectorAll(".sideways").forEach(announce));
