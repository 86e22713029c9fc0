// Paper is white: what is printed is light, whatever the screen shows.
"use strict";

{
  const page = document.documentElement.dataset;
  let before = "";

  window.addEventListener("beforeprint", () => {
    before ||= page.theme;
    page.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    page.theme = before || page.theme;
    before = "";
  });
}
