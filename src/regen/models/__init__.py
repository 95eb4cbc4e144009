"""Networks only: a head turns images into a vector, a stem a vector into images; models are made of these."""
