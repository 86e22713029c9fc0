// Two images on top of each other, with a line to drag. Without this file they stand side by side.
"use strict";

function choice(words, images, chosen) {
  const label = document.createElement("label");
  const select = document.createElement("select");
  images.forEach((image, at) => select.add(new Option(image.title, at, at === chosen, at === chosen)));
  label.append(words, select);
  return [label, select];
}

function compare(block) {
  const images = [...block.querySelectorAll(".compare-image")].map((part) => ({
    source: part.querySelector("img"),
    title: part.innerText.trim(),
  }));
  if (images.length < 2) return;
  const live = document.createElement("div");
  const stage = document.createElement("div");
  const [below, above] = [new Image(), new Image()];
  const line = document.createElement("div");
  const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50 });
  const [leftLabel, left] = choice("Left", images, Math.min(1, images.length - 2));
  const [rightLabel, right] = choice("Right", images, images.length - 1);
  const label = document.createElement("label");
  const hint = document.createElement("span");
  live.className = "compare-live";
  stage.className = "compare-stage";
  line.className = "compare-line";
  label.className = "compare-range";
  hint.textContent = "Drag the line, or move it with the arrow keys";
  label.append(hint, range);
  stage.append(below, above, line, label);
  live.append(leftLabel, rightLabel, stage);
  block.prepend(live);
  block.classList.add("compare-ready");

  function draw() {
    const [first, second] = [images[left.value], images[right.value]];
    for (const [image, shown] of [[above, first], [below, second]]) {
      image.src = shown.source.src;
      image.alt = shown.source.alt;
    }
    stage.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${first.title}, the rest ${second.title}`);
  }
  for (const control of [left, right, range]) control.addEventListener("input", draw);
  draw();
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".compare").forEach(compare));
