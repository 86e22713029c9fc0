// Two images on top of each other, with a line to drag. Without this file they stand side by side.
"use strict";

function element(tag, properties, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

function choice(words, images, chosen) {
  const select = element("select", {}, ...images.map(({ title }, at) => new Option(title, at)));
  select.value = chosen;
  return { select, label: element("label", {}, words, select) };
}

function compare(block, number) {
  const images = [...block.querySelectorAll(".compare-image")].map((part) => ({
    source: part.querySelector("img"),
    title: part.textContent.trim(),
  }));
  const left = choice("Left", images, Math.min(2, images.length - 2));
  const right = choice("Right", images, Math.min(3, images.length - 1));
  const range = element("input", { type: "range", min: 0, max: 100, value: 50, id: `compare-${number}` });
  const [below, above] = [new Image(), new Image()];
  const line = element("div", { className: "compare-line" });
  const stage = element("div", { className: "compare-stage" }, below, above, line, range);
  const words = "Drag the line, or move it with the arrow keys.";
  const hint = element("label", { className: "compare-hint", htmlFor: range.id }, words);
  block.prepend(element("div", { className: "compare-live" }, left.label, right.label, stage, hint));
  block.classList.add("compare-ready");

  function draw() {
    const [first, second] = [images[left.select.value], images[right.select.value]];
    for (const [image, { source }] of [[above, first], [below, second]]) {
      image.src = source.src;
      image.alt = source.alt;
    }
    stage.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${first.title}, the rest ${second.title}`);
  }
  for (const control of [left.select, right.select, range]) control.addEventListener("input", draw);
  draw();
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".compare").forEach(compare));
