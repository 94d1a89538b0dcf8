/** Which view the address asks for: "#/profiles?tier=network_beta" and the like. */

/** {view, parts, query} of the address; an unknown one is the overview. */
export function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...parts] = path.split("/").map(decoded);
  return { view: view || "overview", parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a view. */
export function address(parts, query = {}) {
  const path = parts.map(encodeURIComponent).join("/");
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${path}${search ? `?${search}` : ""}`;
}

/** The address of a node, with the profile to look at. */
export const nodeAddress = (nodeId, profileId) => address(["nodes", nodeId], { profile: profileId });

/** Writes what a view was narrowed to into the address, without leaving the view. */
export const remember = (parts, query) => history.replaceState(null, "", address(parts, query));
