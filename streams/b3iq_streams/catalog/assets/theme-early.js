// Runs before the first paint, so that a remembered theme never flashes. The rest of the theme is theme.js.
try {
  const remembered = localStorage.getItem("b3iq-theme");
  if (remembered === "light" || remembered === "dark") document.documentElement.dataset.theme = remembered;
} catch {
  // storage is forbidden here: the system's theme it is
}
