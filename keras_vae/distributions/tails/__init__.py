"""How fast densities fall at the ends of their support, which decides where KL(q || p) is finite."""
