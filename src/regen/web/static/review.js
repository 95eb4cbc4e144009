"use strict";
// Keys for the buttons that name one, and no form twice. Without this file everything works by mouse, touch and Tab.
(() => {
  const toggle = document.getElementById("keys");
  let sent = false;
  let on = true;
  try { on = localStorage.getItem("keys") !== "off"; } catch { /* storage is switched off: keys stay on */ }

  document.documentElement.classList.add("scripted");

  const show = () => {
    if (!toggle) return;
    toggle.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("without-keys", !on);
  };

  document.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  window.addEventListener("pageshow", () => { sent = false; });

  document.addEventListener("keydown", (event) => {
    if (!on || sent || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement && event.target.type !== "hidden") return;
    const button = document.querySelector(`button[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!button) return;
    event.preventDefault();
    button.classList.add("pressed");
    button.form.requestSubmit(button);
  });

  if (toggle) {
    toggle.addEventListener("click", () => {
      on = !on;
      try { localStorage.setItem("keys", on ? "on" : "off"); } catch { /* it holds for this page then */ }
      show();
    });
  }
  show();
})();
